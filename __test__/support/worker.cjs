'use strict';
// A worker thread with one user who reports and echoes what they get, and leaves when told so.
const { parentPort, workerData } = require('node:worker_threads');
const { createApp } = require('@stvor/sdk');

(async () => {
  const app = await createApp(workerData.config);
  const client = await app.connect(workerData.userId);
  client.onMessage(async (from, content) => {
    parentPort.postMessage({ from, content });
    await client.send(from, `echo ${content}`);
    if (content === 'leave') await app.disconnect();
  });
  parentPort.postMessage('ready');
})();
