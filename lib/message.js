'use strict';

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

module.exports = { DecryptedMessage };
