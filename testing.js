'use strict';
// @stvor/sdk/testing: checks stores of your own against what the SDK relies on.

const { adapterCases, checkAdapters } = require('./lib/conformance/check.js');

module.exports = { adapterCases, checkAdapters };
