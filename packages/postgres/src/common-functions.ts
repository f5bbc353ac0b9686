// Functions that the verbs share: the clock, the end of a task that the queue decides, groups, and what dependents are told.

/**
 * Settings of every function that is called from outside; those that it calls have them from it (setting them costs some microseconds each
 * time). Plans are made once and must hold for a table that grows from nothing to millions, so
 * they are kept to index scans in nested loops; without that, a plan made while the table was empty would read the whole of it later.
 * For the same reason a look-up by id writes `state + 0 = n`: so no partial index of that state can be taken for it.
 */
export const settings = `SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off`;

/**
 * Advisory lock of the settings of all queues: claims share it. One for the schema, and not one a queue, since all locks of a server stand in one
 * table of a fixed size, which a claim of thousands of queues would fill.
 */
export const settingsLock = "hashtextextended({n} || chr(1) || 'q', 0)";
/** Advisory lock of the groups of a queue: one of few, for the same reason. Claims take them in order. */
export const groupsLock = (queue: string): string =>
  `hashtextextended({n} || chr(1) || 'g', hashtextextended(${queue}, 0) & 63)`;

/** Of a task that went without a result of its own; one that stands from an earlier life stays. */
export const rememberOnly =
  "known_until = excluded.known_until, mark = NULL, mark_until = 0, forget_at = CASE WHEN past.status IS NULL THEN excluded.forget_at END";

/** A result replaces none, one of a lower run, or one that is past its time. */
const takes = "(past.status IS NULL OR excluded.run > past.run OR past.expires_at <= v_now)";
const resultColumns = ["run", "attempt", "name", "queue", "status", "finished_at", "expires_at", "error", "value"];
/** What a result that is put changes of the row that stands. */
export const putColumns: string = `${resultColumns.map((column) => `${column} = excluded.${column}`).join(", ")}, forget_at = NULL
        WHERE ${takes}`;
/** What a settlement changes of it: the mark in any case, the result if it has one that may replace what stands. */
export const settleColumns: string = `known_until = excluded.known_until, mark = excluded.mark, mark_until = excluded.mark_until,
        forget_at = CASE WHEN excluded.status IS NULL AND past.status IS NULL THEN excluded.forget_at END, ${resultColumns
          .map(
            (column) =>
              `${column} = CASE WHEN excluded.status IS NOT NULL AND ${takes} THEN excluded.${column} ELSE past.${column} END`,
          )
          .join(", ")}`;

/**
 * From so many rows on they are inserted in the hope that none of their ids is there yet, and once more with a look at each if one is. The look,
 * and a row that does not count until all indexes have it, cost a third of the insertion; the hope costs a subtransaction for all of them.
 */
export const manyRows = 8;

/** A task that a row of `leases` may cover. */
export const coverable = "lane = 0 AND NOT apart AND state + 0 = 2";

/** States that no task of ours has, and lanes from which no claim takes one; the latter of those that a claim could be asked for. The index `tasks_damaged` has them. */
export const unknownState = "(state < 0 OR state > 8 OR state IN (2, 3) AND lane NOT IN (0, 1))";
/** Beyond all times that options can give, and far from where sums of two fail. */
export const latest = "36028797018963968";
/** Numbers that no task of ours has: arithmetic may fail on them. */
const tries = ["run", "attempt", "expiries", "edges", "pending"];
const times =
  "ready_at run_at enqueued_at expires_at expires_in started_at finished_at deadline result_ttl remember_ms dedup_window max_attempts";
export const damagedNumbers: string = [
  unknownState,
  ...tries.map((column) => `${column} NOT BETWEEN 0 AND 1000000000`),
  ...times.split(" ").map((column) => `${column} NOT BETWEEN 0 AND ${latest}`),
  "group_limit < 1",
].join(" OR ");
/** What a task that was set aside says: {@link QueueError} as JSON. */
export const damagedText: string = JSON.stringify({
  code: "OMNIQ_ITEM_DAMAGED",
  message: "What is stored of this task cannot be read",
});

export const commonFunctions: readonly string[] = [
  `CREATE FUNCTION {s}.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT pg_catalog.floor(extract(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000)::bigint
  $$`,

  // The queue ends a task by itself: it stays, in its terminal state, until its outcome is recorded.
  `CREATE FUNCTION {s}.decide(t {s}.tasks, p_state integer, p_error text, p_attempt integer, p_expiries integer, p_now bigint)
  RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  BEGIN
    UPDATE {s}.tasks SET state = p_state, unrecorded = true, finished_at = p_now, error = p_error, attempt = p_attempt,
      expiries = p_expiries, slot = false, token = NULL, deadline = NULL WHERE id = t.id;
    IF t.group_key IS NOT NULL THEN INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key); END IF;
  END $$`,

  // All that it depended on is over. Tasks of groups are always made ready by a reserve, which holds the lock of the queue's groups.
  `CREATE FUNCTION {s}.unblock(p_child text, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  BEGIN
    UPDATE {s}.tasks SET state = CASE WHEN run_at > p_now OR group_key IS NOT NULL THEN 1 ELSE 2 END, ready_at = greatest(run_at, p_now)
    WHERE id = p_child AND state + 0 = 0;
  END $$`,

  `CREATE FUNCTION {s}.fail_dependent(t {s}.tasks, p_parent text, p_status text, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  BEGIN
    PERFORM {s}.decide(t, 5, json_build_object('code', 'OMNIQ_DEPENDENCY_FAILED',
      'message', 'The task "' || p_parent || '", on which this one depends, ended as ' || p_status, 'taskId', p_parent)::text,
      t.attempt, t.expiries, p_now);
  END $$`,

  /*
   * Tells all that wait for this task how it ended. Whoever calls it has deleted or locked the parent, which waits for the key-share
   * locks of children that are being enqueued; so the edges read here are all that there are. Gives the queues of what is ready now.
   */
  `CREATE FUNCTION {s}.tell(p_parent text, p_status text, p_run integer, p_attempt integer, p_finished bigint, p_value text, p_error text,
    p_now bigint) RETURNS text[] LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    e {s}.dependencies;
    c {s}.tasks;
    v_wake text[] := '{}';
  BEGIN
    FOR e IN SELECT * FROM {s}.dependencies WHERE parent_id = p_parent AND status IS NULL ORDER BY child, position LOOP
      UPDATE {s}.dependencies SET status = p_status, run = p_run, attempt = p_attempt, finished_at = p_finished, value = p_value,
        error = p_error WHERE child = e.child AND position = e.position;
      UPDATE {s}.tasks SET pending = pending - 1 WHERE id = e.child AND state + 0 = 0 RETURNING * INTO c;
      CONTINUE WHEN NOT FOUND;
      IF p_status <> 'completed' AND NOT e.may_fail THEN
        PERFORM {s}.fail_dependent(c, p_parent, p_status, p_now);
      ELSIF c.pending = 0 THEN
        PERFORM {s}.unblock(c.id, p_now);
      END IF;
      v_wake := v_wake || c.queue;
    END LOOP;
    RETURN v_wake;
  END $$`,

  /*
   * Who holds a key, if anybody does. Inside a window that is whom the key was given to, whatever became of it; without one a task that is
   * live. One that passed its time before it was started holds nothing at all, though the queue may not have decided that yet.
   */
  `CREATE FUNCTION {s}.key_holder(p_queue text, p_key text, p_now bigint) RETURNS text LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    d {s}.deduplication;
    h record;
  BEGIN
    SELECT * INTO d FROM {s}.deduplication WHERE queue = p_queue AND key = p_key;
    IF NOT FOUND OR d.until <= p_now THEN RETURN NULL; END IF;
    SELECT state, started_at, expires_at INTO h FROM {s}.tasks WHERE id = d.task_id AND queue = p_queue AND dedup_key = p_key;
    IF NOT FOUND THEN RETURN CASE WHEN d.until IS NOT NULL THEN d.task_id END; END IF;
    IF h.state = 7 OR h.state < 4 AND h.started_at IS NULL AND h.expires_at <= p_now THEN RETURN NULL; END IF;
    RETURN CASE WHEN d.until IS NOT NULL OR h.state BETWEEN 0 AND 4 THEN d.task_id END;
  END $$`,

  /*
   * Makes dead letters of tasks that cannot be read: text that may be lost is emptied, numbers are made such that they can be shown. Who waits
   * for them is told. Gives the ids and the queues to wake.
   */
  `CREATE FUNCTION {s}.set_aside(p_ids text[], OUT gone text[], OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
    t {s}.tasks;
  BEGIN
    FOR t IN SELECT * FROM {s}.tasks WHERE id = ANY (p_ids) AND state <> 8 ORDER BY id FOR UPDATE SKIP LOCKED LOOP
      t.run := CASE WHEN t.run BETWEEN 1 AND 1000000000 THEN t.run ELSE 1 END;
      t.attempt := CASE WHEN t.attempt BETWEEN 0 AND 1000000000 THEN t.attempt ELSE 0 END;
      UPDATE {s}.tasks SET state = 8, unrecorded = false, cancelling = false, slot = false, apart = true, lane = 0, priority = 0, finished_at = v_now,
        error = '${damagedText}', payload = '', envelope = '', progress = NULL, token = NULL, deadline = NULL, worker = NULL, edges = 0, pending = 0,
        run = t.run, attempt = t.attempt, expiries = CASE WHEN expiries BETWEEN 0 AND 1000000000 THEN expiries ELSE 0 END,
        group_limit = greatest(group_limit, 1), expires_in = NULL, dedup_window = NULL, started_at = NULL,
        ${["ready_at", "run_at", "enqueued_at"].map((column) => `${column} = CASE WHEN ${column} BETWEEN 0 AND ${latest} THEN ${column} ELSE v_now END`).join(", ")},
        expires_at = NULL, result_ttl = 0, remember_ms = 0, max_attempts = 1 WHERE id = t.id;
      DELETE FROM {s}.dependencies WHERE child = t.id;
      IF t.dedup_key IS NOT NULL THEN
        DELETE FROM {s}.deduplication WHERE queue = t.queue AND key = t.dedup_key AND task_id = t.id AND until IS NULL;
      END IF;
      IF t.group_key IS NOT NULL THEN
        INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key);
        wake := wake || t.queue;
      END IF;
      gone := gone || t.id;
      wake := wake || {s}.tell(t.id, 'failed', t.run, t.attempt, v_now, NULL, '${damagedText}', v_now);
    END LOOP;
  END $$`,

  /*
   * Looks through all for numbers that make a statement fail: for when one has failed. Settings of queues that cannot be are put back to none.
   */
  `CREATE FUNCTION {s}.mend(OUT gone text[], OUT wake text[], OUT queues text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE v_ids text[];
  BEGIN
    SELECT array_agg(x.id) INTO v_ids FROM (SELECT id FROM {s}.tasks WHERE ${damagedNumbers} LIMIT 1000) x;
    IF v_ids IS NOT NULL THEN SELECT r.gone, r.wake INTO gone, wake FROM {s}.set_aside(v_ids) r; END IF;
    WITH mended AS (
      UPDATE {s}.queues SET rate_arrival = NULL, max_active = CASE WHEN max_active BETWEEN 0 AND ${latest} THEN max_active END,
        rate_limit = CASE WHEN rate_limit BETWEEN 1 AND ${latest} AND rate_window BETWEEN 1 AND ${latest} THEN rate_limit END,
        rate_window = CASE WHEN rate_limit BETWEEN 1 AND ${latest} AND rate_window BETWEEN 1 AND ${latest} THEN rate_window END,
        dead_ttl = CASE WHEN dead_ttl BETWEEN 0 AND ${latest} THEN dead_ttl END
      WHERE max_active NOT BETWEEN 0 AND ${latest} OR rate_limit NOT BETWEEN 1 AND ${latest}
        OR rate_window NOT BETWEEN 1 AND ${latest} OR (rate_limit IS NULL) <> (rate_window IS NULL)
        OR rate_arrival NOT BETWEEN 0 AND ${latest} OR dead_ttl NOT BETWEEN 0 AND ${latest}
      RETURNING name
    ) SELECT array_agg(name) INTO queues FROM mended;
  END $$`,

  // Locks the deduplication keys of tasks, in one order everywhere and before the tasks themselves, so that nobody waits in a circle.
  `CREATE FUNCTION {s}.lock_keys(p_ids text[]) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  BEGIN
    PERFORM 1 FROM {s}.deduplication d
    WHERE (d.queue, d.key) IN (SELECT t.queue, t.dedup_key FROM {s}.tasks t WHERE t.id = ANY (p_ids) AND t.dedup_key IS NOT NULL)
    ORDER BY d.queue, d.key FOR UPDATE;
  END $$`,

  /*
   * Writes the lease that covers these tasks into their own rows: of rows that the caller has locked. Never takes away the row of
   * `leases`, on which settlements may have a key-share lock while they wait for one of the tasks.
   */
  `CREATE FUNCTION {s}.write_lease(p_token text, p_queue text, p_seqs bigint[]) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    l {s}.leases;
    v_seqs bigint[];
  BEGIN
    SELECT * INTO l FROM {s}.leases WHERE token = p_token AND queue = p_queue FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN; END IF;
    SELECT array_agg(u) INTO v_seqs FROM unnest(p_seqs) u WHERE u = ANY (l.seqs);
    IF v_seqs IS NULL THEN RETURN; END IF;
    UPDATE {s}.tasks SET state = 4, apart = true, attempt = attempt + 1, token = l.token, deadline = l.deadline, worker = l.worker,
      started_at = coalesce(started_at, l.leased_at) WHERE seq = ANY (v_seqs);
    UPDATE {s}.leases SET seqs = ARRAY(SELECT u FROM unnest(l.seqs) u WHERE NOT u = ANY (v_seqs)) WHERE token = p_token AND queue = p_queue;
  END $$`,

  // The same for those of the given tasks that are covered, by one of the given tokens or by any. Locks the tasks, then the leases.
  `CREATE FUNCTION {s}.write_leases(p_ids text[], p_tokens text[]) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    v_seqs bigint[];
    v_queues text[];
    l record;
  BEGIN
    SELECT array_agg(x.seq), array_agg(DISTINCT x.queue) INTO v_seqs, v_queues FROM (
      SELECT seq, queue FROM {s}.tasks WHERE id = ANY (p_ids) AND ${coverable} ORDER BY id FOR NO KEY UPDATE) x;
    IF v_seqs IS NULL THEN RETURN; END IF;
    FOR l IN
      SELECT c.token, c.queue, array_agg(u) AS seqs FROM {s}.leases c, unnest(c.seqs) u
      WHERE c.queue = ANY (v_queues) AND (p_tokens IS NULL OR c.token = ANY (p_tokens)) AND (u IN (SELECT unnest(v_seqs))) IS TRUE
      GROUP BY c.token, c.queue ORDER BY c.token, c.queue
    LOOP
      PERFORM {s}.write_lease(l.token, l.queue, l.seqs);
    END LOOP;
  END $$`,

  /*
   * Takes tasks out of the queue: waiting ones and recorded dead letters, without a result. Their ids are free then, unless \`p_remember\`.
   * Dependents of a waiting one see it as cancelled. Gives the ids that went and the queues to wake.
   */
  `CREATE FUNCTION {s}.remove_tasks(p_ids text[], p_remember boolean, OUT gone text[], OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint;
    v_runs integer[];
    v_attempts integer[];
    v_at integer;
    v_parent record;
    v_id text;
    v_one record;
  BEGIN
    PERFORM {s}.lock_keys(p_ids);
    PERFORM 1 FROM {s}.tasks WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    -- In the order given where some wait for others: the removal of one decides what becomes of the next.
    IF cardinality(p_ids) > 1 AND EXISTS (SELECT 1 FROM {s}.tasks WHERE id = ANY (p_ids) AND state + 0 = 0) THEN
      FOREACH v_id IN ARRAY p_ids LOOP
        SELECT r.gone AS gone_one, r.wake AS wake_one INTO v_one FROM {s}.remove_tasks(ARRAY[v_id], p_remember) r;
        gone := gone || v_one.gone_one;
        wake := wake || v_one.wake_one;
      END LOOP;
      RETURN;
    END IF;
    PERFORM {s}.write_leases(p_ids, NULL);
    v_now := {s}.now_ms();
    WITH left_over AS (
      DELETE FROM {s}.tasks WHERE id = ANY (p_ids) AND state <> 4 AND NOT (unrecorded AND state IN (5, 6, 7))
      RETURNING id, queue, run, attempt, edges, dedup_key, group_key, remember_ms
    ), remember AS (
      INSERT INTO {s}.past (task_id, known_until, forget_at) SELECT id, v_now + remember_ms, v_now + remember_ms FROM left_over WHERE p_remember
      ON CONFLICT (task_id) DO UPDATE SET ${rememberOnly}
    ), edges AS (
      DELETE FROM {s}.dependencies d USING left_over g WHERE g.edges > 0 AND d.child = g.id
    ), keys AS (
      DELETE FROM {s}.deduplication d USING left_over g
      WHERE g.dedup_key IS NOT NULL AND d.queue = g.queue AND d.key = g.dedup_key AND d.task_id = g.id AND d.until IS NULL
    ), changes AS (
      INSERT INTO {s}.group_changes SELECT DISTINCT queue, group_key FROM left_over WHERE group_key IS NOT NULL
    )
    SELECT array_agg(id), array_agg(run), array_agg(attempt), array_agg(DISTINCT queue) FILTER (WHERE group_key IS NOT NULL)
    INTO gone, v_runs, v_attempts, wake FROM left_over;
    IF NOT p_remember THEN
      UPDATE {s}.past SET known_until = 0, forget_at = CASE WHEN status IS NULL THEN greatest(mark_until, v_now) END
      WHERE task_id = ANY (gone) AND known_until > 0;
    END IF;
    FOR v_parent IN SELECT DISTINCT parent_id AS id FROM {s}.dependencies WHERE parent_id = ANY (gone) AND status IS NULL LOOP
      v_at := array_position(gone, v_parent.id);
      wake := wake || {s}.tell(v_parent.id, 'cancelled', v_runs[v_at], v_attempts[v_at], v_now, NULL, NULL, v_now);
    END LOOP;
  END $$`,
];
