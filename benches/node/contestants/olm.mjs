// Matrix's Olm in WebAssembly. Its messages are base64 text, its plaintexts strings.
import Olm from '@matrix-org/olm';

export const name = 'olm';

async function conversation() {
  await Olm.init();
  const [alice, bob] = [new Olm.Account(), new Olm.Account()];
  alice.create();
  bob.create();
  bob.generate_one_time_keys(1);
  const [oneTimeKey] = Object.values(JSON.parse(bob.one_time_keys()).curve25519);
  const ours = new Olm.Session();
  ours.create_outbound(alice, JSON.parse(bob.identity_keys()).curve25519, oneTimeKey);
  const first = ours.encrypt('hello');
  const theirs = new Olm.Session();
  theirs.create_inbound(bob, first.body);
  theirs.decrypt(first.type, first.body);
  const answer = theirs.encrypt('hello');
  ours.decrypt(answer.type, answer.body);
  return [ours, theirs];
}

export async function oneWay(bytes) {
  const text = bytes.toString('latin1');
  const [alice, bob] = await conversation();
  return (n) => {
    for (let i = 0; i < n; i++) {
      const { type, body } = alice.encrypt(text);
      bob.decrypt(type, body);
    }
  };
}

export async function pingPong(bytes) {
  const text = bytes.toString('latin1');
  let [sender, receiver] = await conversation();
  return (n) => {
    for (let i = 0; i < n; i++) {
      const { type, body } = sender.encrypt(text);
      receiver.decrypt(type, body);
      [sender, receiver] = [receiver, sender];
    }
  };
}
