// The tables. `{s}` stands for the quoted schema.
import { unknownState } from "./common-functions.ts";

/**
 * One table of live tasks and dead letters. States: 0 blocked, 1 scheduled, 2 ready, 3 held back by its group, 4 active, 5 failed (dead
 * letter), 6 cancelled, 7 expired, 8 set aside: what was stored of it could not be read. Any other number is damage, and is shown as 8. Partial indexes hold the tasks of one state each, so that reserving does not cost more with a backlog.
 *
 * Ready tasks stand in one of two lanes. Lane 0 is for the many: priority 0, not of a group, made ready in the order of time. A claim may
 * begin where the last one ended, and steps over no dead index entries. Lane 1 is for what would break that order.
 *
 * A task is active in one of two ways. A plain one of lane 0 keeps its row as it is, with state 2, and a row of `leases` covers it: one
 * for all that one claim took. All others, and those of which anything changes while they are active, have state 4 and the lease in
 * their own row; `apart` says that this was so once, and such a task is never covered by a row of `leases` again.
 */
const tasks = [
  "CREATE SEQUENCE {s}.task_seq AS bigint CACHE 1",
  `CREATE TABLE {s}.tasks (
    id text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL,
    queue text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    state smallint NOT NULL,
    lane smallint NOT NULL,
    priority smallint NOT NULL,
    ready_at bigint NOT NULL,
    run_at bigint NOT NULL,
    enqueued_at bigint NOT NULL,
    expires_at bigint,
    expires_in bigint,
    started_at bigint,
    finished_at bigint,
    deadline bigint,
    max_attempts bigint NOT NULL,
    result_ttl bigint,
    remember_ms bigint NOT NULL,
    dedup_window bigint,
    group_limit bigint,
    run integer NOT NULL DEFAULT 1,
    attempt integer NOT NULL DEFAULT 0,
    expiries integer NOT NULL DEFAULT 0,
    edges integer NOT NULL DEFAULT 0,
    pending integer NOT NULL DEFAULT 0,
    cancelling boolean NOT NULL DEFAULT false,
    unrecorded boolean NOT NULL DEFAULT false,
    slot boolean NOT NULL DEFAULT false,
    apart boolean NOT NULL DEFAULT false,
    token text COLLATE "C",
    worker text COLLATE "C",
    dedup_key text COLLATE "C",
    group_key text COLLATE "C",
    progress text COLLATE "C",
    error text COLLATE "C",
    envelope text COLLATE "C" NOT NULL,
    payload text COLLATE "C" NOT NULL
  ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
          autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000)`,
  "CREATE INDEX tasks_seq ON {s}.tasks (seq)",
  "CREATE INDEX tasks_ready ON {s}.tasks (queue, ready_at, seq) WHERE state = 2 AND lane = 0",
  "CREATE INDEX tasks_ready_early ON {s}.tasks (queue, priority DESC, ready_at, seq) WHERE state = 2 AND lane = 1",
  "CREATE INDEX tasks_due ON {s}.tasks (queue, run_at, seq) WHERE state = 1",
  "CREATE INDEX tasks_leased ON {s}.tasks (queue, deadline) WHERE state = 4",
  "CREATE INDEX tasks_expiring ON {s}.tasks (queue, expires_at) WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4",
  "CREATE INDEX tasks_blocked ON {s}.tasks (queue) WHERE state = 0",
  "CREATE INDEX tasks_held ON {s}.tasks (queue, group_key, group_limit, priority DESC, ready_at, seq) WHERE state = 3",
  "CREATE INDEX tasks_candidate ON {s}.tasks (queue, group_key) WHERE state = 2 AND NOT slot AND group_key IS NOT NULL",
  "CREATE INDEX tasks_grouped ON {s}.tasks (queue) WHERE group_key IS NOT NULL AND state IN (1, 2, 3)",
  "CREATE INDEX tasks_slots ON {s}.tasks (queue, group_key) WHERE slot",
  "CREATE INDEX tasks_dead ON {s}.tasks (queue, finished_at) WHERE state IN (5, 8)",
  `CREATE INDEX tasks_damaged ON {s}.tasks (queue) WHERE ${unknownState}`,
  "CREATE INDEX tasks_cancelling ON {s}.tasks (id) WHERE cancelling AND state = 4",
  "CREATE INDEX tasks_unrecorded ON {s}.tasks (finished_at, seq) WHERE unrecorded",
];

const besideTasks = [
  // The leases of what one claim took of one queue. `last_*` is no less than the place in the lane of any of them.
  `CREATE TABLE {s}.leases (
    token text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    worker text COLLATE "C" NOT NULL,
    leased_at bigint NOT NULL,
    deadline bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    last_ready bigint NOT NULL,
    seqs bigint[] NOT NULL,
    PRIMARY KEY (token, queue)
  ) WITH (toast_tuple_target = 8160,
          autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0)`,
  // To compress them costs more than all else about the row; most rows fit into a page as they are.
  "ALTER TABLE {s}.leases ALTER seqs SET STORAGE EXTERNAL",
  "CREATE INDEX leases_place ON {s}.leases (queue, last_ready, last_seq)",
  "CREATE INDEX leases_deadline ON {s}.leases (queue, deadline)",
  `CREATE TABLE {s}.queues (
    name text COLLATE "C" PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    max_active bigint,
    rate_limit bigint,
    rate_window bigint,
    rate_arrival double precision,
    dead_ttl bigint
  )`,
  // Groups whose slots or tasks changed; the next reserve of the queue looks at them and empties the table.
  'CREATE TABLE {s}.group_changes (queue text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL)',
  "CREATE INDEX group_changes_queue ON {s}.group_changes (queue)",
  `CREATE TABLE {s}.deduplication (
    queue text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    until bigint,
    PRIMARY KEY (queue, key)
  )`,
  "CREATE INDEX deduplication_until ON {s}.deduplication (until) WHERE until IS NOT NULL",
  `CREATE TABLE {s}.dependencies (
    child text COLLATE "C" NOT NULL,
    position integer NOT NULL,
    parent_id text COLLATE "C" NOT NULL,
    may_fail boolean NOT NULL,
    status text COLLATE "C",
    run integer,
    attempt integer,
    finished_at bigint,
    error text COLLATE "C",
    value text COLLATE "C",
    PRIMARY KEY (child, position)
  )`,
  "CREATE INDEX dependencies_open ON {s}.dependencies (parent_id) WHERE status IS NULL",
  `CREATE TABLE {s}.settled (
    token text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    until bigint NOT NULL,
    PRIMARY KEY (task_id, token)
  )`,
  "CREATE INDEX settled_until ON {s}.settled (until)",
];

const storages = [
  /*
   * What is over, one row a task: its result, where `status` is given, and what the queue remembers of it: until when its id is known,
   * and the mark of the settlement that ended it. Without a result the row may go at `forget_at`.
   */
  `CREATE TABLE {s}.past (
    task_id text COLLATE "C" PRIMARY KEY,
    known_until bigint NOT NULL DEFAULT 0,
    mark_until bigint NOT NULL DEFAULT 0,
    forget_at bigint,
    finished_at bigint,
    expires_at bigint,
    run integer,
    attempt integer,
    mark text COLLATE "C",
    name text COLLATE "C",
    queue text COLLATE "C",
    status text COLLATE "C",
    error text COLLATE "C",
    value text COLLATE "C"
  ) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)`,
  "CREATE INDEX past_expires ON {s}.past (expires_at) WHERE expires_at IS NOT NULL",
  "CREATE INDEX past_forget ON {s}.past (forget_at) WHERE forget_at IS NOT NULL",
  // `txid` and `seq` are the append order; with a snapshot they say exactly what a reader has seen, whatever order writers commit in.
  "CREATE SEQUENCE {s}.event_seq AS bigint CACHE 1",
  `CREATE TABLE {s}.events (
    txid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('{s}.event_seq'),
    id text COLLATE "C" PRIMARY KEY,
    at bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    task_name text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    run integer NOT NULL,
    attempt integer NOT NULL,
    data text COLLATE "C"
  )`,
  "CREATE INDEX events_order ON {s}.events (txid, seq)",
  "CREATE INDEX events_task ON {s}.events (task_id, txid, seq)",
  "CREATE INDEX events_at ON {s}.events (at)",
  `CREATE TABLE {s}.schedules (
    id text COLLATE "C" PRIMARY KEY,
    rule text COLLATE "C" NOT NULL,
    template text COLLATE "C" NOT NULL,
    next_at bigint,
    runs bigint NOT NULL,
    paused boolean NOT NULL,
    revision text COLLATE "C" NOT NULL
  )`,
  "CREATE INDEX schedules_due ON {s}.schedules (next_at, id) WHERE NOT paused AND next_at IS NOT NULL",
];

export const tables: readonly string[] = [...tasks, ...besideTasks, ...storages];

/** What the tables of version 1 lack. */
export const sinceVersion1: readonly string[] = [
  "DROP INDEX {s}.tasks_dead",
  ...tasks.filter((text) => /INDEX tasks_(dead|damaged|cancelling) /.test(text)),
];
