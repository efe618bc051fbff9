// The declarations stand by themselves: here without @types/node, so bytes are plain Uint8Arrays.
import { createApp } from '@stvor/sdk';
import { encryptMessage } from '@stvor/sdk/ratchet';
import type { SessionState } from '@stvor/sdk/ratchet';
import { startMockRelay } from '@stvor/sdk/mock-relay';

declare const session: SessionState;
export const bytes: Uint8Array = encryptMessage(session, 'text').ciphertext;

const relay = await startMockRelay();
const app = await createApp({ appToken: 'stvor_dev_test123', relayUrl: relay.url });
export const client = await app.connect('alice');
