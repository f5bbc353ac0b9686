// Functions that the verbs share: the clock, the end of a task that the queue decides, groups, and what dependents are told.

/**
 * Settings of every function that is called from outside; those that it calls have them from it (setting them costs some microseconds each
 * time). Plans are made once and must hold for a table that grows from nothing to millions, so
 * they are kept to index scans in nested loops; without that, a plan made while the table was empty would read the whole of it later.
 * For the same reason a look-up by id writes `state + 0 = n`: so no partial index of that state can be taken for it.
 */
export const settings = `SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET jit = off
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off`;

/** Advisory lock of a queue: `q` for its settings (shared by claims), `g` for its groups. */
export const lockKey = (kind: "q" | "g", queue: string): string =>
  `hashtextextended({n} || chr(1) || '${kind}' || ${queue}, 0)`;

export const commonFunctions: readonly string[] = [
  `CREATE FUNCTION {s}.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint
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

  // Locks the deduplication keys of tasks, in one order everywhere and before the tasks themselves, so that nobody waits in a circle.
  `CREATE FUNCTION {s}.lock_keys(p_ids text[]) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  BEGIN
    PERFORM 1 FROM {s}.deduplication d
    WHERE (d.queue, d.key) IN (SELECT t.queue, t.dedup_key FROM {s}.tasks t WHERE t.id = ANY (p_ids) AND t.dedup_key IS NOT NULL)
    ORDER BY d.queue, d.key FOR UPDATE;
  END $$`,

  /*
   * Takes tasks out of the queue: waiting ones and recorded dead letters, without a result; their ids stay known. Dependents of a
   * waiting one see it as cancelled. Gives the ids that went and the queues to wake.
   */
  `CREATE FUNCTION {s}.remove_tasks(p_ids text[], OUT gone text[], OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
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
        SELECT r.gone AS gone_one, r.wake AS wake_one INTO v_one FROM {s}.remove_tasks(ARRAY[v_id]) r;
        gone := gone || v_one.gone_one;
        wake := wake || v_one.wake_one;
      END LOOP;
      RETURN;
    END IF;
    v_now := {s}.now_ms();
    WITH left_over AS (
      DELETE FROM {s}.tasks WHERE id = ANY (p_ids) AND state <> 4 AND NOT unrecorded
      RETURNING id, queue, run, attempt, edges, dedup_key, group_key, remember_ms
    ), remember AS (
      INSERT INTO {s}.remembered (id, until, token, token_until, gone_at)
      SELECT id, v_now + remember_ms, NULL, 0, v_now + remember_ms FROM left_over
      ON CONFLICT (id) DO UPDATE SET until = excluded.until, token = NULL, token_until = 0, gone_at = excluded.gone_at
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
    FOR v_parent IN SELECT DISTINCT parent_id AS id FROM {s}.dependencies WHERE parent_id = ANY (gone) AND status IS NULL LOOP
      v_at := array_position(gone, v_parent.id);
      wake := wake || {s}.tell(v_parent.id, 'cancelled', v_runs[v_at], v_attempts[v_at], v_now, NULL, NULL, v_now);
    END LOOP;
  END $$`,
];
