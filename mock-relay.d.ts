/** How {@link startMockRelay} starts the relay. */
export interface MockRelayOptions {
  /** TCP port; 0, the default, takes a free one. */
  port?: number | undefined;
  /** Address or addresses to listen on. Default: 127.0.0.1 and ::1, which only this machine reaches. */
  host?: string | readonly string[] | undefined;
  /** Prints what the relay does to this process's stderr. Default: false. */
  verbose?: boolean | undefined;
  /** Which AppTokens are accepted, by how they begin; `''` accepts any. Default: `stvor_`. */
  tokenPrefixes?: string | readonly string[] | undefined;
}

/** A running relay for development: everything is in memory and gone when it closes. */
export interface MockRelay {
  /** WebSocket address, for `relayUrl`. */
  readonly url: string;
  /** HTTP address of the same port: `/health`, `/status/<userId>`, and the HTTP relay's requests. */
  readonly httpUrl: string;
  /** The port it listens on. */
  readonly port: number;
  /** Stops it and waits until it has ended. Repeated calls do nothing. */
  close(): Promise<void>;
  /** The same as {@link MockRelay.close}, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts the bundled development relay in a process of its own, which ends with this one.
 *
 * While it runs it keeps this process alive, as any server does.
 *
 * @throws {StvorError} `RELAY_UNAVAILABLE` with the relay's own words when it cannot start (such as
 * a port in use), `INVALID_ARGUMENT`, `UNSUPPORTED_PLATFORM`.
 */
export function startMockRelay(options?: MockRelayOptions): Promise<MockRelay>;

/** These exports again, for CommonJS code that awaits its modules. */
export function load(): Promise<typeof import('./mock-relay.js')>;
