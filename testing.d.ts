import type { StorageAdapters, StvorError, UserId } from './index.js';

/** Adapters as `createApp` takes them, all four or some: an object, or a function that makes those of a user. */
export type AdaptersToCheck =
  | Partial<StorageAdapters>
  | ((userId: UserId) => Partial<StorageAdapters> | PromiseLike<Partial<StorageAdapters>>);

/** What is checked, and how. */
export interface CheckOptions {
  /** Makes another instance on the same data, as another process has it. Without it, rules about two are skipped. */
  reopen?: (() => AdaptersToCheck | PromiseLike<AdaptersToCheck>) | undefined;
  /** The stores to check. Default: all four. */
  only?: Array<keyof StorageAdapters> | undefined;
  /** The stores serve one user, and do not take the user's id. Default: false. */
  singleUser?: boolean | undefined;
  /** Never more than one process serves a user, so that nobody can write in between. Default: false. */
  oneWriter?: boolean | undefined;
  /** Milliseconds that each rule may take. Default: 30,000. */
  timeout?: number | undefined;
}

/** A rule that is broken. */
export interface Failure {
  /** The rule's name, such as `'replay-atomic'`. */
  rule: string;
  /** The rule in words, and what was seen. */
  message: string;
  /** How to mend it. */
  action: string;
  /** What the store threw or rejected with, if it did. */
  cause?: unknown;
}

/** What {@link checkAdapters} resolves to. */
export interface ConformanceReport {
  /** Names of the rules that are kept. */
  passed: string[];
  /** Rules that could not be checked, and why. */
  skipped: Array<{ rule: string; why: string }>;
}

/** What {@link checkAdapters} rejects with; its message lists all failures. */
export interface ConformanceError extends StvorError, ConformanceReport {
  code: 'STORAGE_NONCONFORMING';
  failures: Failure[];
}

/** One rule, for a test runner: `for (const { name, run } of adapterCases(adapters)) test(name, run)`. */
export interface AdapterCase {
  /** The rule's name. */
  rule: string;
  /** The rule in words. */
  name: string;
  /** Rejects with a {@link ConformanceError} if the rule is broken; resolves to why it was skipped, if it was. */
  run(): Promise<{ skipped: string } | undefined>;
}

/**
 * Checks that stores keep the rules which the SDK relies on. Writes under random ids, and leaves what it has written.
 *
 * @throws {ConformanceError} `STORAGE_NONCONFORMING`, with every rule that is broken. {@link StvorError}
 * `INVALID_ARGUMENT`.
 */
export function checkAdapters(adapters: AdaptersToCheck, options?: CheckOptions): Promise<ConformanceReport>;

/** The rules as separate cases. @throws {StvorError} `INVALID_ARGUMENT`. */
export function adapterCases(adapters: AdaptersToCheck, options?: CheckOptions): AdapterCase[];

export {};
