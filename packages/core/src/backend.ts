// Backends and adapters: the object that makes components over one shared connection, and how configuration finds it.
import type { EventStorage, ResultStorage, ScheduleStorage, TaskQueue } from "./contracts/index.ts";

/** Adapters merge their options in under their `type`. */
export interface BackendOptions {}
/** Adapters with transactions merge in what stands for one. */
export interface Transactions {}
export type Transaction = [keyof Transactions] extends [never]
  ? "No imported adapter has transactions. Import one: import '@omniq/postgres'"
  : Transactions[keyof Transactions];

export interface Components {
  taskQueue: TaskQueue;
  resultStorage: ResultStorage;
  eventStorage: EventStorage;
  scheduleStorage: ScheduleStorage;
}

/** The makers that a backend may have; one that lacks a maker can't be passed for that component. */
export type Provides<Kind extends keyof Components> = BackendBase & { readonly [K in Kind]: () => Components[K] };
export type Backend = Provides<keyof Components>;

/** How a thread makes a connection of its own: `module` exports `adapter`, which is called with `options` (cloneable). */
export interface RemoteBackend {
  readonly module: string;
  readonly options: unknown;
}

/** What a backend noticed by itself: an item that cannot be read and was set aside, a message that was refused. Fields hold no payloads or passwords. */
export interface BackendReport {
  readonly level: "warn" | "error";
  readonly message: string;
  readonly fields?: Readonly<Record<string, unknown>> | undefined;
}

/** For adapters: whom a backend's reports go to. Reports that nobody hears are dropped; a listener that throws harms nobody. */
export class Reports {
  readonly #listeners = new Set<(report: BackendReport) => void>();
  listen(listener: (report: BackendReport) => void): () => void {
    const own = (report: BackendReport): void => listener(report);
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }
  send(level: BackendReport["level"], message: string, fields?: BackendReport["fields"]): void {
    for (const listener of this.#listeners) {
      try {
        listener({ level, message, fields });
      } catch {
        // What a listener does with a report is its own affair.
      }
    }
  }
}

/** A backend. Makers answer with the same component each time; closing the backend closes its components. */
export interface BackendBase extends AsyncDisposable {
  readonly type: string;
  /** The version of the contracts that it implements. */
  readonly contract: 1;
  /** Where heartbeats may come from a thread of their own. */
  readonly remote?: RemoteBackend | undefined;
  /** Tells what the backend noticed by itself and somebody should know; the client logs it. Gives what ends it. */
  onReport?(listener: (report: BackendReport) => void): () => void;
  /** Resolves when the backend answers; rejects with `OMNIQ_BACKEND_UNAVAILABLE`. */
  check(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Idempotent. Closes what the backend opened, never what the user gave it. */
  close(): Promise<void>;
}

/** How one option is written in a file or a variable. `code` options can only be given in code. */
export type OptionKind =
  | "string"
  | "secret"
  | "integer"
  | "number"
  | "boolean"
  | "strings"
  | "record"
  | "path"
  | "code";
/** What `load` may use: packages are found from the configuration file's folder. */
export interface AdapterLoader {
  readonly import: (specifier: string) => Promise<Readonly<Record<string, unknown>>>;
}

/** Called, it makes a backend from options in code. The rest tells the configuration how to read options from a file. */
export interface Adapter<Type extends string, Options, Made extends BackendBase = Backend> {
  (options: Options): Made;
  readonly type: Type;
  readonly contract: 1;
  /** Other names of the type, and URL schemes. */
  readonly aliases: readonly string[];
  readonly options: Readonly<Record<string, OptionKind>>;
  /** Other names of options: `{ user: "username" }`. */
  readonly optionAliases: Readonly<Record<string, string>>;
  /** Options from a URL whose scheme is the type or an alias. Where it lacks, a URL is refused. */
  readonly fromUrl?: ((url: string) => Readonly<Record<string, unknown>>) | undefined;
  readonly load?: ((options: never, loader: AdapterLoader) => Promise<Made>) | undefined;
}
export type AnyAdapter = Adapter<string, any, BackendBase>;

/** What {@link defineAdapter} takes. */
export interface AdapterDefinition<Type extends keyof BackendOptions & string, Made extends BackendBase, Options> {
  readonly type: Type;
  readonly contract: 1;
  readonly aliases?: readonly string[];
  /** Complete by type: an option left out is a compile error. */
  readonly options: { readonly [K in keyof BackendOptions[Type]]-?: OptionKind };
  readonly optionAliases?: Readonly<Record<string, keyof BackendOptions[Type] & string>>;
  readonly fromUrl?: (url: string) => BackendOptions[Type];
  readonly create: (options: Options) => Made;
  /** Where plain options need more than `create`: another package, a file. */
  readonly load?: (options: BackendOptions[Type], loader: AdapterLoader) => Promise<Made>;
}

/** Makes an adapter: a function that makes backends, and says of itself what configuration needs. Packages export it as `adapter` too. */
export function defineAdapter<
  Type extends keyof BackendOptions & string,
  Made extends BackendBase,
  Options = BackendOptions[Type],
>(definition: AdapterDefinition<Type, Made, Options>): Adapter<Type, Options, Made> {
  const { create, aliases = [], optionAliases = {}, type, contract, options, fromUrl, load } = definition;
  const adapter = (given: Options): Made => create(given);
  // The type alone would be lost on a function whose own name wins; so all are defined as plain properties.
  return Object.assign(adapter, { type, contract, aliases, options, optionAliases, fromUrl, load }) as Adapter<
    Type,
    Options,
    Made
  >;
}

type Types = keyof BackendOptions & string;
/** `snake_case` of an option's name: `databasePath` is `database_path`. */
export type SnakeCase<S extends string> = S extends `${infer Head}${infer Tail}`
  ? `${Head extends Lowercase<Head> ? Head : `_${Lowercase<Head>}`}${SnakeCase<Tail>}`
  : S;
/** Options of one kind under camelCase or snake_case names. */
export type EitherCase<O> =
  | O
  | (O extends unknown ? { readonly [K in keyof O as K extends string ? SnakeCase<K> : K]: O[K] } : never);

/** `{ type: "redis", host: "localhost" }` */
export type BackendConfig = [Types] extends [never]
  ? { readonly type: "Import the adapter where this is compiled, so that its options are known: import '@omniq/redis'" }
  : { [T in Types]: { readonly type: T } & EitherCase<BackendOptions[T]> }[Types];
/** A description, or a URL whose scheme names the adapter. */
export type BackendSource = BackendConfig | `${string}://${string}`;

type UnionToIntersection<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void ? I : never;
type FlatName<T extends string, O extends string> = `${T}${Capitalize<O>}` | `${T}_${SnakeCase<O>}`;
/** `redisHost` or `redis_host`, `sqliteDatabasePath`, ... */
export type FlatBackendOptions = UnionToIntersection<
  { [T in Types]: { readonly [O in keyof BackendOptions[T] & string as FlatName<T, O>]?: BackendOptions[T][O] } }[Types]
>;
export type BackendType = Types;
