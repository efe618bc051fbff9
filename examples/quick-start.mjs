// Two users and one encrypted message. Needs a relay at http://localhost:3002 that accepts the token:
//   npx stvor mock-relay --port 3002 --token-prefix ""
import { createApp } from '@stvor/sdk';

// Инициализация
const app = await createApp({
  appToken: 'sk_live_xxx',
  relayUrl: 'http://localhost:3002'
});

// Подключение пользователей
const alice = await app.connect('alice@example.com');
const bob = await app.connect('bob@example.com');

// Подписка на сообщения
bob.onMessage((msg) => {
  console.log(`📩 ${msg.senderId}: ${msg.content}`);
});

// E2EE отправка — X3DH + Double Ratchet автоматически
await alice.send('bob@example.com', 'Hello! 🔐');
console.log('✅ Sent');
