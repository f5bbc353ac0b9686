// The functions behind `enqueue` where keys or dependencies are in play: call by call. Plain tasks have theirs in enqueue-plain-functions.ts.
import { settings } from "./common-functions.ts";

/** The columns of new tasks, as arrays, in the order of the parameters. */
export const taskParameters = `p_id text[], p_name text[], p_queue text[], p_payload text[], p_envelope text[], p_priority bigint[],
    p_max_attempts bigint[], p_run_at bigint[], p_delay bigint[], p_expires_at bigint[], p_expires_in bigint[], p_result_ttl bigint[],
    p_remember bigint[], p_group_key text[], p_group_limit bigint[]`;
export const taskArrays = `p_id, p_name, p_queue, p_payload, p_envelope, p_priority, p_max_attempts, p_run_at, p_delay, p_expires_at,
    p_expires_in, p_result_ttl, p_remember, p_group_key, p_group_limit`;
export const taskNames = `id, name, queue, payload, envelope, priority, max_attempts, run_at, delay, expires_at, expires_in, result_ttl, remember,
    group_key, group_limit`;
export const eventParameters = `e_owner bigint[], e_id text[], e_at bigint[], e_type text[], e_task_id text[], e_task_name text[], e_queue text[],
    e_run bigint[], e_attempt bigint[], e_data text[]`;
/** For calls that mostly have none. */
export const optionalEvents: string = eventParameters.replace(/\[\]/g, "[] DEFAULT NULL");
export const eventArrays = "e_owner, e_id, e_at, e_type, e_task_id, e_task_name, e_queue, e_run, e_attempt, e_data";
export const insertEvents: string = `INSERT INTO {s}.events (seq, id, at, type, task_id, task_name, queue, run, attempt, data)
      SELECT nextval('{s}.event_seq'), v.id, v.at, v.type, v.task_id, v.task_name, v.queue, v.run, v.attempt, v.data FROM (
        SELECT * FROM unnest(${eventArrays}) WITH ORDINALITY
          AS u(owner, id, at, type, task_id, task_name, queue, run, attempt, data, ord) WHERE u.id IS NOT NULL ORDER BY u.ord) v`;

/** Each call takes one number of the sequence, and this many numbers of its own from it: more than a batch may have tasks. */
export const seqStep = 4_096;

export const insertColumns = `id, seq, queue, name, state, lane, priority, ready_at, run_at, enqueued_at, expires_at, expires_in, max_attempts,
      result_ttl, remember_ms, group_key, group_limit, envelope, payload`;

export const enqueueFunctions: readonly string[] = [
  `CREATE FUNCTION {s}.take_key(p_queue text, p_key text, p_task text, p_window bigint, p_now bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO {s}.deduplication (queue, key, task_id, until) VALUES (p_queue, p_key, p_task, p_now + p_window)
    ON CONFLICT (queue, key) DO UPDATE SET task_id = excluded.task_id, until = excluded.until
  $$`,

  // What a second task does to the waiting holder of its key. The caller holds the lock of the key.
  `CREATE FUNCTION {s}.change_holder(h {s}.tasks, p_replace boolean, p_payload text, p_envelope text, p_priority bigint, p_max_attempts bigint,
    p_due bigint, p_expires_at bigint, p_expires_in bigint, p_result_ttl bigint, p_window bigint, p_now bigint) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE v_priority integer := CASE WHEN p_replace THEN p_priority ELSE h.priority END;
  BEGIN
    UPDATE {s}.tasks SET run_at = p_due, dedup_window = p_window,
      expires_at = CASE WHEN p_replace THEN coalesce(p_expires_at, p_due + p_expires_in)
        WHEN h.expires_in IS NULL THEN h.expires_at ELSE p_due + h.expires_in END,
      payload = CASE WHEN p_replace THEN p_payload ELSE payload END,
      envelope = CASE WHEN p_replace THEN p_envelope ELSE envelope END,
      max_attempts = CASE WHEN p_replace THEN p_max_attempts ELSE max_attempts END,
      result_ttl = CASE WHEN p_replace THEN p_result_ttl ELSE result_ttl END,
      expires_in = CASE WHEN p_replace THEN p_expires_in ELSE expires_in END,
      priority = v_priority,
      lane = CASE WHEN v_priority = 0 AND h.group_key IS NULL THEN 0 ELSE 1 END,
      ready_at = CASE WHEN h.state = 0 THEN ready_at ELSE p_due END,
      attempt = CASE WHEN p_replace THEN 0 ELSE attempt END,
      expiries = CASE WHEN p_replace THEN 0 ELSE expiries END,
      started_at = CASE WHEN p_replace THEN NULL ELSE started_at END,
      error = CASE WHEN p_replace THEN NULL ELSE error END,
      progress = CASE WHEN p_replace THEN NULL ELSE progress END,
      state = CASE WHEN h.state = 0 THEN 0 WHEN p_due > p_now OR h.group_key IS NOT NULL THEN 1 ELSE 2 END
    WHERE id = h.id;
    IF h.group_key IS NOT NULL AND h.state IN (2, 3) THEN INSERT INTO {s}.group_changes VALUES (h.queue, h.group_key); END IF;
  END $$`,

  // One call: all or none. Raises OQ001 with the unknown dependencies in the detail. Gives order, id and state of each task, flat.
  `CREATE FUNCTION {s}.enqueue_call(p_this bigint, p_call bigint[], ${taskParameters}, p_key text[], p_window bigint[], p_mode text[],
    d_owner bigint[], d_parent text[], d_may_fail boolean[], d_status text[], d_run bigint[], d_attempt bigint[], d_finished bigint[],
    d_value text[], d_error text[], ${eventParameters}) RETURNS text[] LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
    v_due bigint;
    v_out text[] := '{}';
    v_given text[] := '{}';
    v_stands text[] := '{}';
    v_new text[] := '{}';
    v_orders bigint[] := '{}';
    v_holder text;
    v_parent_id text;
    v_map jsonb;
    v_unknown text[] := '{}';
    v_failed text;
    v_failed_status text;
    v_pending integer;
    v_position integer;
    v_child text;
    h {s}.tasks;
    c {s}.tasks;
    p {s}.tasks;
    t record;
    d record;
  BEGIN
    FOR t IN
      SELECT * FROM unnest(p_call, ${taskArrays}, p_key, p_window, p_mode) WITH ORDINALITY
        AS u(call, ${taskNames}, key, "window", mode, ord) WHERE u.call = p_this AND u.id IS NOT NULL ORDER BY u.ord
    LOOP
      v_given := v_given || t.id;
      v_due := CASE WHEN t.run_at IS NULL THEN v_now + coalesce(t.delay, 0) ELSE greatest(t.run_at, v_now) END;
      IF EXISTS (SELECT 1 FROM {s}.tasks WHERE id = t.id) OR EXISTS (SELECT 1 FROM {s}.past WHERE task_id = t.id AND known_until > v_now) THEN
        v_stands := v_stands || t.id;
        v_out := v_out || ARRAY[t.ord::text, t.id, 'duplicate'];
        CONTINUE;
      END IF;
      IF t.key IS NOT NULL THEN
        v_holder := {s}.key_holder(t.queue, t.key, v_now);
        IF v_holder IS NOT NULL THEN
          h := NULL;
          IF t.mode <> 'keep' THEN SELECT * INTO h FROM {s}.tasks WHERE id = v_holder FOR NO KEY UPDATE; END IF;
          IF h.id IS NOT NULL AND h.state BETWEEN 0 AND 3 THEN
            PERFORM {s}.change_holder(h, t.mode = 'replace', t.payload, t.envelope, t.priority, t.max_attempts, v_due, t.expires_at, t.expires_in,
              t.result_ttl, t."window", v_now);
            PERFORM {s}.take_key(t.queue, t.key, v_holder, t."window", v_now);
            v_stands := v_stands || v_holder;
            v_out := v_out || ARRAY[t.ord::text, v_holder, CASE WHEN t.mode = 'replace' THEN 'replaced' ELSE 'extended' END];
            CONTINUE;
          ELSIF t.mode <> 'replace' THEN
            v_stands := v_stands || v_holder;
            v_out := v_out || ARRAY[t.ord::text, v_holder, 'deduplicated'];
            CONTINUE;
          END IF;
        END IF;
      END IF;
      SELECT count(*) INTO v_pending FROM unnest(d_owner) u WHERE u = t.ord;
      INSERT INTO {s}.tasks (${insertColumns}, edges, pending, dedup_key, dedup_window)
      VALUES (t.id, nextval('{s}.task_seq') * ${seqStep}, t.queue, t.name,
        CASE WHEN v_pending > 0 THEN 0 WHEN v_due > v_now OR t.group_key IS NOT NULL THEN 1 ELSE 2 END,
        CASE WHEN t.priority = 0 AND t.group_key IS NULL THEN 0 ELSE 1 END, t.priority, v_due, v_due, v_now,
        coalesce(t.expires_at, v_due + t.expires_in), t.expires_in, t.max_attempts, t.result_ttl, t.remember, t.group_key, t.group_limit,
        t.envelope, t.payload, v_pending, v_pending, t.key, t."window")
      ON CONFLICT (id) DO NOTHING;
      IF NOT FOUND THEN
        v_stands := v_stands || t.id;
        v_out := v_out || ARRAY[t.ord::text, t.id, 'duplicate'];
        CONTINUE;
      END IF;
      -- The insert may have waited for the end of a task of the same id, which is remembered now.
      IF EXISTS (SELECT 1 FROM {s}.past WHERE task_id = t.id AND known_until > v_now) THEN
        DELETE FROM {s}.tasks WHERE id = t.id;
        v_stands := v_stands || t.id;
        v_out := v_out || ARRAY[t.ord::text, t.id, 'duplicate'];
        CONTINUE;
      END IF;
      IF t.key IS NOT NULL THEN PERFORM {s}.take_key(t.queue, t.key, t.id, t."window", v_now); END IF;
      v_stands := v_stands || t.id;
      v_new := v_new || t.id;
      v_orders := v_orders || t.ord;
      v_out := v_out || ARRAY[t.ord::text, t.id, 'enqueued'];
    END LOOP;

    IF d_owner IS NOT NULL AND cardinality(v_new) > 0 THEN
      v_map := jsonb_object(v_given, v_stands);
      FOR i IN 1 .. cardinality(v_new) LOOP
        v_child := v_new[i];
        v_pending := 0;
        v_position := 0;
        v_failed := NULL;
        FOR d IN
          SELECT * FROM unnest(d_owner, d_parent, d_may_fail, d_status, d_run, d_attempt, d_finished, d_value, d_error) WITH ORDINALITY
            AS u(owner, parent, may_fail, status, run, attempt, finished, value, error, ord) WHERE u.owner = v_orders[i] ORDER BY u.ord
        LOOP
          -- A task of the same call that was deduplicated stands for the key's holder.
          v_parent_id := coalesce(v_map ->> d.parent, d.parent);
          IF d.status IS NULL THEN
            SELECT * INTO p FROM {s}.tasks WHERE id = v_parent_id FOR KEY SHARE;
            IF NOT FOUND THEN
              v_unknown := v_unknown || d.parent;
              CONTINUE;
            END IF;
            IF p.state NOT BETWEEN 0 AND 4 AND NOT (p.unrecorded AND p.state IN (5, 6, 7)) THEN
              d.status := 'failed';
              d.run := p.run;
              d.attempt := p.attempt;
              d.finished := coalesce(p.finished_at, 0);
              d.error := p.error;
            END IF;
          END IF;
          INSERT INTO {s}.dependencies (child, position, parent_id, may_fail, status, run, attempt, finished_at, value, error)
          VALUES (v_child, v_position, v_parent_id, d.may_fail, d.status, d.run, d.attempt, d.finished, d.value, d.error);
          v_position := v_position + 1;
          IF d.status IS NULL THEN
            v_pending := v_pending + 1;
          ELSIF d.status <> 'completed' AND NOT d.may_fail AND v_failed IS NULL THEN
            v_failed := v_parent_id;
            v_failed_status := d.status;
          END IF;
        END LOOP;
        CONTINUE WHEN cardinality(v_unknown) > 0 OR v_position = 0;
        UPDATE {s}.tasks SET pending = v_pending WHERE id = v_child RETURNING * INTO c;
        IF v_failed IS NOT NULL THEN
          PERFORM {s}.fail_dependent(c, v_failed, v_failed_status, v_now);
        ELSIF v_pending = 0 THEN
          PERFORM {s}.unblock(v_child, v_now);
        END IF;
      END LOOP;
      IF cardinality(v_unknown) > 0 THEN
        RAISE EXCEPTION 'unknown dependencies' USING ERRCODE = 'OQ001',
          DETAIL = (SELECT json_agg(x.u ORDER BY x.o) FROM (SELECT u, min(o) AS o FROM unnest(v_unknown) WITH ORDINALITY AS y(u, o) GROUP BY u) x)::text;
      END IF;
    END IF;
    IF e_id IS NOT NULL THEN
      ${insertEvents} WHERE v.owner = p_this AND v.task_id = ANY (v_new) ON CONFLICT (id) DO NOTHING;
    END IF;
    RETURN v_out;
  END $$`,

  /*
   * Calls one after the other. Locks all keys first, in order. A call with dependencies has a subtransaction of its own, so that one that
   * names an unknown task stores nothing; for it the answer has '0', the call's number and the ids as JSON.
   */
  `CREATE FUNCTION {s}.enqueue(p_call bigint[], ${taskParameters}, p_key text[], p_window bigint[], p_mode text[],
    d_owner bigint[], d_parent text[], d_may_fail boolean[], d_status text[], d_run bigint[], d_attempt bigint[], d_finished bigint[],
    d_value text[], d_error text[], ${optionalEvents}) RETURNS text[] LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_out text[] := '{}';
    v_this bigint;
    v_detail text;
  BEGIN
    IF p_key IS NOT NULL THEN
      -- What is not there yet is put there, past its time; so there is a row to lock.
      INSERT INTO {s}.deduplication (queue, key, task_id, until)
      SELECT DISTINCT u.queue COLLATE "C", u.key COLLATE "C", '', 0 FROM unnest(p_queue, p_key) AS u(queue, key) WHERE u.key IS NOT NULL ORDER BY 1, 2
      ON CONFLICT (queue, key) DO NOTHING;
      PERFORM 1 FROM {s}.deduplication d
      WHERE (d.queue, d.key) IN (SELECT u.queue, u.key FROM unnest(p_queue, p_key) AS u(queue, key) WHERE u.key IS NOT NULL)
      ORDER BY d.queue, d.key FOR UPDATE;
    END IF;
    FOR v_this IN SELECT DISTINCT u FROM unnest(p_call) u ORDER BY u LOOP
      IF d_owner IS NULL THEN
        v_out := v_out || {s}.enqueue_call(v_this, p_call, ${taskArrays}, p_key, p_window, p_mode, d_owner, d_parent, d_may_fail, d_status, d_run,
          d_attempt, d_finished, d_value, d_error, ${eventArrays});
      ELSE
        BEGIN
          v_out := v_out || {s}.enqueue_call(v_this, p_call, ${taskArrays}, p_key, p_window, p_mode, d_owner, d_parent, d_may_fail, d_status, d_run,
            d_attempt, d_finished, d_value, d_error, ${eventArrays});
        EXCEPTION WHEN SQLSTATE 'OQ001' THEN
          GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
          v_out := v_out || ARRAY['0', v_this::text, v_detail];
        END;
      END IF;
    END LOOP;
    RETURN v_out;
  END $$`,
];
