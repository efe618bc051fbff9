'use strict';
// A worker thread that connects a user and passes on what its logger gets.
const { parentPort, workerData } = require('node:worker_threads');
const { createApp } = require('@stvor/sdk');

(async () => {
  const logger = (level, message, fields) => parentPort.postMessage({ level, message, fields });
  const app = await createApp({ ...workerData.config, logger });
  await app.connect(workerData.userId);
  await app.disconnect();
})();
