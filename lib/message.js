'use strict';

const { decodeContent } = require('./content.js');

/** What a handler is given: the four fields of the original, and two aliases of them. */
class DecryptedMessage {
  constructor(id, senderId, content, timestamp) {
    this.id = id;
    this.senderId = senderId;
    this.content = content;
    this.timestamp = timestamp;
  }

  /** The same as `senderId`. */
  get from() {
    return this.senderId;
  }

  /** The same as `content`. */
  get data() {
    return this.content;
  }
}

/** The message that arrived. Throws where its content is not what it claims to be. */
function messageOf({ id, senderId, kind, payload, timestamp }) {
  return new DecryptedMessage(id, senderId, decodeContent(kind, payload), new Date(timestamp));
}

module.exports = { messageOf };
