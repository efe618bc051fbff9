// The HTTP side of the original, by hand: a relay that only speaks HTTP, and a client of it.
import { CryptoSessionManager } from '@stvor/sdk';
import { fakeRelay, TOKEN } from './relays.mjs';

/** A relay with the original's requests and nothing else. Inboxes are emptied by registering again. */
export async function httpRelay(t) {
  const users = new Map();
  let count = 0;
  const routes = {
    'GET health': () => [200, { status: 'ok', server: 'test', users: users.size }],
    'GET usage': () => [200, { used: count, limit: -1, users: users.size }],
    'POST register': (_id, { user_id: id, publicKeys }) => {
      users.set(id, { publicKeys, inbox: [] });
      return [200, { status: 'registered' }];
    },
    'GET public-key': (id) => (users.has(id) ? [200, { publicKeys: users.get(id).publicKeys }] : [404, { error: 'User not found' }]),
    'POST message': (_id, { to, from, ciphertext, header }) => {
      if (!users.has(to)) return [404, { error: 'Recipient not found' }];
      count += 1;
      users.get(to).inbox.push({ id: `m${count}`, from, ciphertext, header, timestamp: new Date().toISOString() });
      return [200, { status: 'delivered', messageId: `m${count}` }];
    },
    'GET messages': (id) => {
      if (!users.has(id)) return [404, { error: 'User not found' }];
      const messages = users.get(id).inbox.splice(0);
      return [200, { messages, count: messages.length }];
    },
    'DELETE message': () => [200, { status: 'not_found' }],
  };
  const requests = [];
  const relay = await fakeRelay(t, {
    async onRequest(request, response) {
      const [, route, id = ''] = request.url.split('/');
      requests.push(`${request.method} ${request.url}`);
      let text = '';
      for await (const chunk of request) text += chunk;
      const authorized = route === 'health' || request.headers.authorization === `Bearer ${TOKEN}`;
      const answer = authorized
        ? routes[`${request.method} ${route}`]?.(decodeURIComponent(id), text && JSON.parse(text)) ?? [404, { error: 'Not found' }]
        : [401, { error: 'Invalid token' }];
      response.writeHead(answer[0], { 'content-type': 'application/json' }).end(JSON.stringify(answer[1]));
    },
  });
  return { ...relay, url: relay.httpUrl, requests, users };
}

/** A client with the original's requests: registers, looks up keys, posts, polls. */
export async function originalClient(relay, userId, token = TOKEN) {
  const manager = new CryptoSessionManager(userId);
  await manager.initialize();
  const call = async (method, path, body) => {
    const response = await fetch(relay.httpUrl + path, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: await response.json() };
  };
  const meet = async (peer) => {
    if (manager.hasSession(peer)) return;
    const { body } = await call('GET', `/public-key/${peer}`);
    await manager.establishSession(peer, body.publicKeys);
  };
  await call('POST', '/register', { user_id: userId, publicKeys: manager.getPublicKeys() });
  return {
    call,
    async send(to, text) {
      await meet(to);
      return call('POST', '/message', { to, from: userId, ...manager.encryptForPeer(to, text) });
    },
    /** Polls until something is there, and reads all of it. */
    async receive() {
      for (;;) {
        const { body } = await call('GET', `/messages/${userId}`);
        const texts = [];
        for (const { from, ciphertext, header } of body.messages) {
          await meet(from);
          texts.push(manager.decryptFromPeer(from, ciphertext, header));
        }
        if (texts.length > 0) return texts;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    },
  };
}
