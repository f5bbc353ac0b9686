// The functions behind cancel, retry, purge, record, settings of queues, and sweep.
import { latest, rememberOnly, settings, settingsLock, unknownState } from "./common-functions.ts";

export const controlFunctions: readonly string[] = [
  // Answers with one text for each id, in order.
  `CREATE FUNCTION {s}.cancel(p_ids text[], OUT states text[], OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_id text;
    v_now bigint;
    t {s}.tasks;
  BEGIN
    PERFORM 1 FROM {s}.tasks WHERE id = ANY (p_ids) ORDER BY id FOR NO KEY UPDATE;
    PERFORM {s}.write_leases(p_ids, NULL);
    v_now := {s}.now_ms();
    FOREACH v_id IN ARRAY p_ids LOOP
      SELECT * INTO t FROM {s}.tasks WHERE id = v_id;
      IF NOT FOUND OR t.state NOT BETWEEN 0 AND 4 THEN
        states := states || 'unknown'::text;
      ELSIF t.state = 4 THEN
        UPDATE {s}.tasks SET cancelling = true WHERE id = v_id;
        states := states || 'cancelling'::text;
      ELSE
        PERFORM {s}.decide(t, 6, t.error, t.attempt, t.expiries, v_now);
        states := states || 'cancelled'::text;
        IF t.group_key IS NOT NULL THEN wake := wake || t.queue; END IF;
      END IF;
    END LOOP;
  END $$`,

  /*
   * Dead letters start a new run: attempts, expiries and start forgotten. Those with dependencies wait again for what of these is live, be it
   * that the same call retries it; else they take the outcome that the call gives, if it is of a higher run, or keep what they had.
   */
  `CREATE FUNCTION {s}.retry(p_ids text[], o_task text[], o_run bigint[], o_attempt bigint[], o_status text[], o_finished bigint[],
    o_value text[], o_error text[], OUT states text[], OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_id text;
    v_now bigint;
    v_holder text;
    v_retried text[] := '{}';
    v_open integer;
    t {s}.tasks;
    p {s}.tasks;
    d {s}.dependencies;
    o record;
  BEGIN
    -- Keys of dead letters may be free; a row to lock is put there, past its time.
    INSERT INTO {s}.deduplication (queue, key, task_id, until)
    SELECT DISTINCT queue, dedup_key, '', 0 FROM {s}.tasks WHERE id = ANY (p_ids) AND dedup_key IS NOT NULL AND state + 0 = 5 ORDER BY 1, 2
    ON CONFLICT (queue, key) DO NOTHING;
    PERFORM {s}.lock_keys(p_ids);
    PERFORM 1 FROM {s}.tasks WHERE id = ANY (p_ids) ORDER BY id FOR NO KEY UPDATE;
    v_now := {s}.now_ms();
    FOREACH v_id IN ARRAY p_ids LOOP
      SELECT * INTO t FROM {s}.tasks WHERE id = v_id;
      IF NOT FOUND OR t.state NOT IN (5, 6, 7) THEN
        states := states || 'unknown'::text;
        CONTINUE;
      END IF;
      IF t.unrecorded THEN
        states := states || 'busy'::text;
        CONTINUE;
      END IF;
      IF t.dedup_key IS NOT NULL THEN
        v_holder := {s}.key_holder(t.queue, t.dedup_key, v_now);
        IF v_holder <> v_id THEN
          states := states || 'conflict'::text;
          CONTINUE;
        ELSIF v_holder IS NULL AND t.dedup_window IS NULL THEN
          PERFORM {s}.take_key(t.queue, t.dedup_key, v_id, NULL, v_now);
        END IF;
      END IF;
      UPDATE {s}.tasks SET state = CASE WHEN group_key IS NULL THEN 2 ELSE 1 END, lane = CASE WHEN priority = 0 AND group_key IS NULL THEN 0 ELSE 1 END,
        run = run + 1, attempt = 0, expiries = 0, started_at = NULL, finished_at = NULL, cancelling = false, run_at = v_now, ready_at = v_now,
        slot = false, error = NULL, progress = NULL WHERE id = v_id;
      states := states || 'retried'::text;
      wake := wake || t.queue;
      IF t.edges > 0 THEN v_retried := v_retried || v_id; END IF;
    END LOOP;
    FOREACH v_id IN ARRAY v_retried LOOP
      v_open := 0;
      FOR d IN SELECT * FROM {s}.dependencies WHERE child = v_id ORDER BY position LOOP
        -- Of what is live the end is still to come: whoever ends it waits for this lock, and tells then.
        SELECT * INTO p FROM {s}.tasks WHERE id = d.parent_id FOR KEY SHARE;
        IF FOUND AND (p.state BETWEEN 0 AND 4 OR p.unrecorded AND p.state IN (5, 6, 7)) THEN
          v_open := v_open + 1;
          UPDATE {s}.dependencies SET status = NULL, run = NULL, attempt = NULL, finished_at = NULL, value = NULL, error = NULL
          WHERE child = v_id AND position = d.position;
          CONTINUE;
        END IF;
        SELECT * INTO o FROM unnest(o_task, o_run, o_attempt, o_status, o_finished, o_value, o_error)
          AS u(task, run, attempt, status, finished, value, error) WHERE u.task = d.parent_id ORDER BY u.run DESC LIMIT 1;
        IF FOUND AND (d.status IS NULL OR o.run > d.run) THEN
          UPDATE {s}.dependencies SET status = o.status, run = o.run, attempt = o.attempt, finished_at = o.finished, value = o.value, error = o.error
          WHERE child = v_id AND position = d.position;
        END IF;
      END LOOP;
      UPDATE {s}.tasks SET pending = v_open, state = CASE WHEN v_open > 0 THEN 0 ELSE state END WHERE id = v_id;
    END LOOP;
  END $$`,

  // The outcomes' results are stored: dependents and keys are let go; only dead letters stay. Gives the queues to wake.
  `CREATE FUNCTION {s}.record(p_ids text[], p_runs bigint[]) RETURNS text[] LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    o record;
    t {s}.tasks;
    v_now bigint;
    v_wake text[];
  BEGIN
    PERFORM {s}.lock_keys(p_ids);
    -- Waits for children that are being enqueued, so that none is missed below.
    PERFORM 1 FROM {s}.tasks WHERE id = ANY (p_ids) ORDER BY id FOR UPDATE;
    v_now := {s}.now_ms();
    FOR o IN SELECT * FROM unnest(p_ids, p_runs) AS u(id, run) WHERE u.id IS NOT NULL LOOP
      SELECT * INTO t FROM {s}.tasks WHERE id = o.id AND run = o.run AND coalesce(unrecorded, false) AND state BETWEEN 5 AND 7;
      CONTINUE WHEN NOT FOUND;
      IF t.state = 5 THEN
        UPDATE {s}.tasks SET unrecorded = false WHERE id = t.id;
      ELSE
        DELETE FROM {s}.tasks WHERE id = t.id;
        INSERT INTO {s}.past (task_id, known_until, forget_at) VALUES (t.id, v_now + t.remember_ms, v_now + t.remember_ms)
        ON CONFLICT (task_id) DO UPDATE SET ${rememberOnly};
        DELETE FROM {s}.dependencies WHERE child = t.id;
      END IF;
      IF t.dedup_key IS NOT NULL THEN
        DELETE FROM {s}.deduplication WHERE queue = t.queue AND key = t.dedup_key AND task_id = t.id AND (until IS NULL OR t.state = 7);
      END IF;
      IF t.group_key IS NOT NULL THEN v_wake := v_wake || t.queue; END IF;
      v_wake := v_wake || {s}.tell(t.id, CASE t.state WHEN 5 THEN 'failed' WHEN 6 THEN 'cancelled' ELSE 'expired' END, t.run, t.attempt,
        coalesce(t.finished_at, v_now), NULL, t.error, v_now);
    END LOOP;
    RETURN v_wake;
  END $$`,

  // One step of a purge: at most p_limit tasks of these kinds, none after p_last. Without a next number it is over.
  `CREATE FUNCTION {s}.purge(q text, p_kinds text[], p_after bigint, p_last bigint, p_limit integer, OUT removed bigint, OUT next_after bigint,
    OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
    v_ids text[];
    v_gone text[];
    v_seen bigint;
  BEGIN
    SELECT array_agg(x.id ORDER BY x.seq), max(x.seq), count(*) INTO v_ids, next_after, v_seen FROM (
      SELECT id, seq FROM {s}.tasks
      WHERE queue = q AND seq > p_after AND seq <= p_last AND NOT unrecorded AND CASE state WHEN 0 THEN 'blocked' = ANY (p_kinds)
        WHEN 1 THEN (CASE WHEN run_at > v_now THEN 'scheduled' ELSE 'ready' END) = ANY (p_kinds)
        WHEN 2 THEN 'ready' = ANY (p_kinds) WHEN 3 THEN 'ready' = ANY (p_kinds) WHEN 4 THEN false WHEN 6 THEN false WHEN 7 THEN false
        ELSE 'failed' = ANY (p_kinds) END
      ORDER BY seq LIMIT p_limit) x;
    removed := 0;
    IF v_seen < p_limit THEN next_after := NULL; END IF;
    IF v_ids IS NULL THEN RETURN; END IF;
    SELECT r.gone, r.wake INTO v_gone, wake FROM {s}.remove_tasks(v_ids, false) r;
    removed := coalesce(cardinality(v_gone), 0);
  END $$`,

  // What changes a queue's settings waits for the claims that are under way.
  `CREATE FUNCTION {s}.set_paused(q text, p_paused boolean) RETURNS void LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  BEGIN
    PERFORM pg_advisory_xact_lock(${settingsLock});
    INSERT INTO {s}.queues (name, paused) VALUES (q, p_paused) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused;
  END $$`,
  `CREATE FUNCTION {s}.configure(q text, p_set_active boolean, p_active bigint, p_set_rate boolean, p_rate bigint, p_window bigint,
    p_set_dead boolean, p_dead bigint) RETURNS void LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  BEGIN
    PERFORM pg_advisory_xact_lock(${settingsLock});
    INSERT INTO {s}.queues (name) VALUES (q) ON CONFLICT (name) DO NOTHING;
    UPDATE {s}.queues SET max_active = CASE WHEN p_set_active THEN p_active ELSE max_active END,
      rate_limit = CASE WHEN p_set_rate THEN p_rate ELSE rate_limit END,
      rate_window = CASE WHEN p_set_rate THEN p_window ELSE rate_window END,
      rate_arrival = CASE WHEN p_set_rate AND p_rate IS NULL THEN NULL ELSE rate_arrival END,
      dead_ttl = CASE WHEN p_set_dead THEN p_dead ELSE dead_ttl END
    WHERE name = q;
  END $$`,

  /*
   * \`remove\`: takes tasks away, and frees ids that were only remembered. \`states\`: one text for each id, in order.
   */
  `CREATE FUNCTION {s}.remove(p_ids text[], OUT states text[], OUT wake text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint;
    v_gone text[];
    v_freed text[];
    v_there text[];
  BEGIN
    SELECT r.gone, r.wake INTO v_gone, wake FROM {s}.remove_tasks(p_ids, false) r;
    v_now := {s}.now_ms();
    SELECT array_agg(id) INTO v_there FROM {s}.tasks WHERE id = ANY (p_ids);
    SELECT array_agg(x.task_id) INTO v_freed FROM (
      SELECT task_id FROM {s}.past WHERE task_id = ANY (p_ids) AND known_until > v_now AND NOT task_id = ANY (coalesce(v_there, '{}'))
      ORDER BY task_id FOR UPDATE) x;
    UPDATE {s}.past SET known_until = 0, forget_at = CASE WHEN status IS NULL THEN greatest(mark_until, v_now) END WHERE task_id = ANY (v_freed);
    -- An id that is given twice was there only for the first.
    SELECT array_agg(CASE WHEN u.n = 1 AND u.id = ANY (coalesce(v_gone, '{}')) THEN 'removed' WHEN u.n = 1 AND u.id = ANY (coalesce(v_freed, '{}')) THEN 'freed'
      WHEN u.id = ANY (coalesce(v_there, '{}')) THEN 'busy' ELSE 'unknown' END ORDER BY u.ord) INTO states
    FROM (SELECT i.id, i.ord, row_number() OVER (PARTITION BY i.id ORDER BY i.ord) AS n FROM unnest(p_ids) WITH ORDINALITY AS i(id, ord)) u;
  END $$`,

  /*
   * The queues that have something for a sweep. Each index leads with the queue, so the next name is one step away, however many tasks
   * the one before has.
   */
  `CREATE FUNCTION {s}.queue_names() RETURNS SETOF text LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE v_name text := '';
  BEGIN
    LOOP
      SELECT min(x.queue) INTO v_name FROM (
        (SELECT queue FROM {s}.tasks WHERE queue > v_name AND state = 1 ORDER BY queue LIMIT 1)
        UNION ALL (SELECT queue FROM {s}.tasks WHERE queue > v_name AND state = 4 ORDER BY queue LIMIT 1)
        UNION ALL (SELECT queue FROM {s}.leases WHERE queue > v_name ORDER BY queue LIMIT 1)
        UNION ALL (SELECT queue FROM {s}.tasks WHERE queue > v_name AND state IN (5, 8) ORDER BY queue LIMIT 1)
        UNION ALL (SELECT queue FROM {s}.tasks WHERE queue > v_name AND ${unknownState} ORDER BY queue LIMIT 1)
        UNION ALL (SELECT queue FROM {s}.tasks WHERE queue > v_name AND expires_at IS NOT NULL AND started_at IS NULL AND state < 4
          ORDER BY queue LIMIT 1)
      ) x;
      EXIT WHEN v_name IS NULL;
      RETURN NEXT v_name;
    END LOOP;
  END $$`,

  // Upkeep of all queues, dead letters past their time, and what need not be remembered any more.
  `CREATE FUNCTION {s}.sweep(p_limit integer, OUT changed integer, OUT wake text[], OUT damaged text[]) LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
    v_left integer := p_limit;
    v_count integer;
    v_ttl bigint;
    v_ids text[];
    v_wake text[];
    q text;
  BEGIN
    FOR q IN SELECT n FROM {s}.queue_names() n LOOP
      EXIT WHEN v_left <= 0;
      -- One whose time never comes would keep the slot of its group for ever.
      SELECT array_agg(x.id) INTO v_ids FROM (
        (SELECT id FROM {s}.tasks WHERE queue = q AND ${unknownState} LIMIT v_left)
        UNION ALL (SELECT id FROM {s}.tasks WHERE queue = q AND state = 4 AND deadline > ${latest} LIMIT v_left)
        UNION ALL (SELECT id FROM {s}.tasks WHERE queue = q AND state = 1 AND run_at > ${latest} LIMIT v_left) LIMIT v_left) x;
      IF v_ids IS NOT NULL THEN
        SELECT r.gone, r.wake INTO v_ids, v_wake FROM {s}.set_aside(v_ids) r;
        damaged := damaged || v_ids;
        wake := wake || v_wake;
        v_left := v_left - coalesce(cardinality(v_ids), 0);
      END IF;
      v_count := {s}.end_leases(q, v_now, v_left) + {s}.promote(q, v_now, v_left, false);
      IF v_count > 0 THEN wake := wake || q; END IF;
      v_left := v_left - v_count;
      SELECT dead_ttl INTO v_ttl FROM {s}.queues WHERE name = q;
      CONTINUE WHEN NOT FOUND OR v_ttl IS NULL OR v_left <= 0;
      SELECT array_agg(x.id) INTO v_ids FROM (
        SELECT id FROM {s}.tasks WHERE queue = q AND state IN (5, 8) AND finished_at <= v_now - v_ttl AND NOT unrecorded ORDER BY finished_at LIMIT v_left) x;
      CONTINUE WHEN v_ids IS NULL;
      SELECT coalesce(cardinality(r.gone), 0), r.wake INTO v_count, v_wake FROM {s}.remove_tasks(v_ids, true) r;
      v_left := v_left - v_count;
      wake := wake || v_wake;
    END LOOP;
    IF v_left > 0 THEN
      DELETE FROM {s}.past WHERE task_id IN (
        SELECT task_id FROM {s}.past WHERE forget_at <= v_now ORDER BY forget_at LIMIT v_left FOR UPDATE SKIP LOCKED);
      GET DIAGNOSTICS v_count = ROW_COUNT;
      v_left := v_left - v_count;
    END IF;
    IF v_left > 0 THEN
      DELETE FROM {s}.settled WHERE (task_id, token) IN (
        SELECT task_id, token FROM {s}.settled WHERE until <= v_now ORDER BY until LIMIT v_left FOR UPDATE SKIP LOCKED);
      GET DIAGNOSTICS v_count = ROW_COUNT;
      v_left := v_left - v_count;
    END IF;
    IF v_left > 0 THEN
      DELETE FROM {s}.deduplication WHERE (queue, key) IN (
        SELECT queue, key FROM {s}.deduplication WHERE until <= v_now ORDER BY until LIMIT v_left FOR UPDATE SKIP LOCKED);
      GET DIAGNOSTICS v_count = ROW_COUNT;
      v_left := v_left - v_count;
    END IF;
    -- A slot is kept by a task that is active, or that was and waits for its time.
    UPDATE {s}.tasks SET slot = false WHERE id IN (
      SELECT id FROM {s}.tasks WHERE slot AND state NOT IN (1, 2, 4) LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED);
    -- Groups that hold tasks back and have none that could start: their mark may be what was damaged. The next reserve looks at them.
    WITH held AS (
        SELECT DISTINCT h.queue, h.group_key FROM (SELECT queue, group_key FROM {s}.tasks WHERE state = 3 LIMIT p_limit) h
      ), marked AS (
        INSERT INTO {s}.group_changes SELECT queue, group_key FROM held WHERE group_key IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM {s}.tasks t WHERE t.queue = held.queue AND t.group_key = held.group_key AND t.slot)
          AND NOT EXISTS (SELECT 1 FROM {s}.tasks t WHERE t.queue = held.queue AND t.group_key = held.group_key AND t.state = 2 AND NOT t.slot)
        RETURNING queue
      ) SELECT array_agg(DISTINCT queue) INTO v_wake FROM marked;
    wake := wake || v_wake;
    changed := p_limit - greatest(0, v_left);
  END $$`,
];
