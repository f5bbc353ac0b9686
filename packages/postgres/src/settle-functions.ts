// The function behind `settle`: everything is fenced by the token; what completed leaves in one statement.
import { settleRepeatMs } from "@omniq/core";
import { manyRows, putColumns, settings, settleColumns } from "./common-functions.ts";
import { eventParameters, insertEvents } from "./enqueue-functions.ts";

/** A column of one value throughout may be an array of one. */
const all = `SELECT u.id, coalesce(u.token, v_token) AS token, u.place, coalesce(u.outcome, v_outcome) AS outcome,
        coalesce(u.store, v_store) AS store, u.value, u.error, u.delay, u.ord
      FROM unnest(p_id, p_token, p_place, p_outcome, p_store, p_value, p_error, p_delay) WITH ORDINALITY
        AS u(id, token, place, outcome, store, value, error, delay, ord)`;
const given = (which: string): string =>
  `${all} WHERE coalesce(u.outcome, v_outcome) IN ('completed', 'cancelled') AND ${which}`;

/** The row of `past` of each that is gone: its result if it is to be stored, and the mark of its settlement. */
const intoPast = `INSERT INTO {s}.past (task_id, known_until, mark_until, forget_at, finished_at, expires_at, run, attempt, mark, name, queue,
        status, error, value)
      SELECT g.id, v_now + g.remember_ms, v_now + ${settleRepeatMs}, CASE WHEN NOT g.kept THEN v_now + greatest(g.remember_ms, ${settleRepeatMs}) END,
        CASE WHEN g.kept THEN v_now END, CASE WHEN g.kept THEN v_now + g.result_ttl END, g.run, g.attempt, g.outcome || ':' || g.token,
        CASE WHEN g.kept THEN g.name END, CASE WHEN g.kept THEN g.queue END, CASE WHEN g.kept THEN g.outcome END,
        CASE WHEN g.kept THEN g.error END, CASE WHEN g.kept THEN g.value END
      FROM gone g`;
const orChangePast = `ON CONFLICT (task_id) DO UPDATE SET ${settleColumns}`;

/** What is returned of a row that goes. */
const going = `g.ord, g.outcome, g.value, g.error, g.token, t.id, t.run, t.name, t.queue, t.result_ttl, t.remember_ms,
        g.store AND t.result_ttl IS DISTINCT FROM 0 AS kept`;

/**
 * Most rows are where they were when they were leased. A row that never had a lease of its own, whose place is in the token, and the leases of
 * which are there, is covered by them: whatever changes that changes the row.
 */
const settleInPlace = (conflict = ""): string => `WITH gone AS (
        DELETE FROM {s}.tasks t USING (${given("u.place IS NOT NULL")}) g
        WHERE t.ctid = g.place AND t.id || '' = g.id AND t.edges = 0 AND t.dedup_key IS NULL AND t.group_key IS NULL
          AND (t.token = g.token OR t.token IS NULL AND NOT t.apart AND t.state + 0 = 2 AND t.lane = 0 AND g.token = ANY (v_held))
        RETURNING ${going}, CASE WHEN t.token IS NULL THEN t.attempt + 1 ELSE t.attempt END AS attempt
      ), stored AS (
        ${intoPast} ${conflict}
      )
      SELECT array_agg(ord), array_agg(run), array_agg(attempt) INTO v_done, v_runs, v_attempts FROM gone;`;

export const settleFunctions: readonly string[] = [
  /*
   * Ends leases. The arrays are in the order of the ids, so that two calls never wait for each other in a circle. Gives one row of position
   * -2: \`payload\` has '1' for each that is settled and '0' for each that is lost, null when all are settled; \`envelope\` the queues to
   * wake, as JSON. \`p_tokens\`: each token once. \`p_keys\`: some of the tasks may have a deduplication key. Only active tasks have a
   * token, so no condition names the state: with one, a plan made early may walk the index of active tasks for each settlement.
   */
  `CREATE FUNCTION {s}.settle(p_id text[], p_token text[], p_place tid[], p_outcome text[], p_store boolean[], p_value text[], p_error text[],
    p_delay bigint[], p_queues text[], p_tokens text[], p_keys boolean, ${eventParameters}) RETURNS {s}.lease LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint;
    v_token text := CASE WHEN cardinality(p_token) = 1 THEN p_token[1] END;
    v_outcome text := CASE WHEN cardinality(p_outcome) = 1 THEN p_outcome[1] END;
    v_store boolean := CASE WHEN cardinality(p_store) = 1 THEN p_store[1] END;
    v_known boolean := cardinality(p_id) < ${manyRows};
    v_done bigint[];
    v_again bigint[];
    v_runs integer[];
    v_attempts integer[];
    v_orders bigint[];
    v_some_runs integer[];
    v_some_attempts integer[];
    v_held text[];
    v_wake text[];
    g record;
    t {s}.tasks;
    r {s}.lease;
  BEGIN
    IF p_keys THEN PERFORM {s}.lock_keys(p_id); END IF;
    v_now := {s}.now_ms();
    -- Rows of leases that end are taken away with the lock that this one keeps out.
    SELECT array_agg(l.token) INTO v_held FROM (
      SELECT token FROM {s}.leases WHERE token = ANY (p_tokens) ORDER BY token, queue FOR KEY SHARE) l;
    -- Mostly nothing is known of these tasks yet. To hope so, and to begin again if it is not, costs less than to look for each.
    IF NOT v_known THEN
      BEGIN
        ${settleInPlace()}
      EXCEPTION WHEN unique_violation THEN
        v_known := true;
      END;
    END IF;
    IF v_known THEN
      ${settleInPlace(orChangePast)}
    END IF;
    v_done := coalesce(v_done, '{}');

    IF cardinality(v_done) < cardinality(p_id) THEN
      PERFORM {s}.write_leases((SELECT array_agg(u.id) FROM unnest(p_id) WITH ORDINALITY AS u(id, ord) WHERE NOT u.ord = ANY (v_done)), p_tokens);
      -- Those that the first step leaves alone, and those whose rows moved since.
      WITH gone AS (
        DELETE FROM {s}.tasks t USING (${given("NOT u.ord = ANY (v_done)")}) g WHERE t.id = g.id AND t.token = g.token
        RETURNING ${going}, t.attempt, t.edges, t.dedup_key, t.group_key
      ), stored AS (
        ${intoPast} ${orChangePast}
      ), edges AS (
        DELETE FROM {s}.dependencies d USING gone g WHERE g.edges > 0 AND d.child = g.id
      ), keys AS (
        DELETE FROM {s}.deduplication d USING gone g
        WHERE g.dedup_key IS NOT NULL AND d.queue = g.queue AND d.key = g.dedup_key AND d.task_id = g.id AND d.until IS NULL
      ), changes AS (
        INSERT INTO {s}.group_changes SELECT DISTINCT queue, group_key FROM gone WHERE group_key IS NOT NULL
      )
      SELECT array_agg(ord), array_agg(run), array_agg(attempt), array_agg(DISTINCT queue) FILTER (WHERE group_key IS NOT NULL)
      INTO v_again, v_some_runs, v_some_attempts, v_wake FROM gone;
      v_done := v_done || v_again;
      v_runs := v_runs || v_some_runs;
      v_attempts := v_attempts || v_some_attempts;
    END IF;
    v_orders := v_done;

    IF cardinality(v_done) < cardinality(p_id) THEN
      FOR g IN
        ${all} WHERE coalesce(u.outcome, v_outcome) IN ('failed', 'retry', 'release') ORDER BY u.ord
      LOOP
        IF g.outcome = 'failed' THEN
          -- Waits for children that are being enqueued, as a delete would.
          SELECT * INTO t FROM {s}.tasks WHERE id = g.id AND token = g.token FOR UPDATE;
        ELSE
          SELECT * INTO t FROM {s}.tasks WHERE id = g.id AND token = g.token FOR NO KEY UPDATE;
        END IF;
        CONTINUE WHEN NOT FOUND;
        v_done := v_done || g.ord;
        INSERT INTO {s}.settled (token, task_id, until) VALUES (g.outcome || ':' || g.token, g.id, v_now + ${settleRepeatMs})
        ON CONFLICT (task_id, token) DO UPDATE SET until = excluded.until;
        IF g.outcome = 'failed' THEN
          IF g.store AND t.result_ttl IS DISTINCT FROM 0 THEN
            INSERT INTO {s}.past (task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value)
            VALUES (t.id, t.run, t.attempt, t.name, t.queue, 'failed', v_now, v_now + t.result_ttl, g.error, g.value)
            ON CONFLICT (task_id) DO UPDATE SET ${putColumns};
          END IF;
          UPDATE {s}.tasks SET state = 5, finished_at = v_now, error = g.error, slot = false, token = NULL, deadline = NULL WHERE id = t.id;
          IF t.dedup_key IS NOT NULL THEN
            DELETE FROM {s}.deduplication WHERE queue = t.queue AND key = t.dedup_key AND task_id = t.id AND until IS NULL;
          END IF;
          IF t.group_key IS NOT NULL THEN
            INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key);
            v_wake := v_wake || t.queue;
          END IF;
          v_runs := v_runs || t.run;
          v_attempts := v_attempts || t.attempt;
          v_orders := v_orders || g.ord;
        ELSIF g.outcome = 'retry' AND (t.cancelling OR t.attempt >= t.max_attempts) THEN
          PERFORM {s}.decide(t, CASE WHEN t.cancelling THEN 6 ELSE 5 END, g.error, t.attempt, t.expiries, v_now);
          v_wake := v_wake || t.queue;
        ELSIF g.outcome = 'retry' THEN
          UPDATE {s}.tasks SET state = CASE WHEN g.delay > 0 OR group_key IS NOT NULL THEN 1 ELSE 2 END, run_at = v_now + g.delay,
            ready_at = v_now + g.delay, slot = (slot AND group_limit = 1), error = g.error, token = NULL, deadline = NULL, worker = NULL
          WHERE id = t.id;
          IF t.group_key IS NOT NULL AND t.group_limit <> 1 THEN INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key); END IF;
          v_wake := v_wake || t.queue;
        ELSIF t.cancelling THEN
          PERFORM {s}.decide(t, 6, t.error, t.attempt - 1, t.expiries, v_now);
          v_wake := v_wake || t.queue;
        ELSIF g.delay > 0 THEN
          -- Put off: the attempt is given back, a group's slot kept as a retry does.
          UPDATE {s}.tasks SET state = 1, lane = CASE WHEN priority = 0 AND group_key IS NULL THEN 0 ELSE 1 END, run_at = v_now + g.delay,
            ready_at = v_now + g.delay, slot = (slot AND group_limit = 1), attempt = attempt - 1,
            started_at = CASE WHEN attempt = 1 AND expiries = 0 THEN NULL ELSE started_at END, token = NULL, deadline = NULL, worker = NULL
          WHERE id = t.id;
          IF t.group_key IS NOT NULL AND t.group_limit <> 1 THEN INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key); END IF;
          v_wake := v_wake || t.queue;
        ELSE
          -- Given back at its old place. A task that was leased ahead and given back has not started yet, so its expiry counts again.
          UPDATE {s}.tasks SET state = CASE WHEN run_at > v_now OR group_key IS NOT NULL THEN 1 ELSE 2 END, lane = 1, slot = false,
            attempt = attempt - 1, started_at = CASE WHEN attempt = 1 AND expiries = 0 THEN NULL ELSE started_at END, token = NULL,
            deadline = NULL, worker = NULL WHERE id = t.id;
          IF t.group_key IS NOT NULL THEN INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key); END IF;
          v_wake := v_wake || t.queue;
        END IF;
      END LOOP;
    END IF;

    -- One look where nothing waits for anything, instead of one for each task.
    IF EXISTS (SELECT 1 FROM {s}.dependencies WHERE status IS NULL) THEN
      FOR g IN
        SELECT p.id, u.ord, u."at" FROM (
          SELECT DISTINCT parent_id AS id FROM {s}.dependencies WHERE status IS NULL
            AND parent_id = ANY ((SELECT array_agg(p_id[o]) FROM unnest(v_orders) o)::text[])) p,
          unnest(v_orders) WITH ORDINALITY AS u(ord, "at") WHERE p_id[u.ord] = p.id ORDER BY 1
      LOOP
        v_wake := v_wake || {s}.tell(g.id, coalesce(v_outcome, p_outcome[g.ord]), v_runs[g."at"], v_attempts[g."at"], v_now, p_value[g.ord], p_error[g.ord], v_now);
      END LOOP;
    END IF;

    IF e_id IS NOT NULL THEN
      ${insertEvents} WHERE v.owner = ANY (v_done) ON CONFLICT (id) DO NOTHING;
    END IF;

    IF cardinality(v_done) < cardinality(p_id) THEN
      SELECT array_agg(u.ord) INTO v_again FROM (${all}) u
      WHERE NOT u.ord = ANY (v_done) AND (
        EXISTS (SELECT 1 FROM {s}.past m WHERE m.task_id = u.id AND m.mark = u.outcome || ':' || u.token AND m.mark_until > v_now)
        OR EXISTS (SELECT 1 FROM {s}.settled m WHERE m.task_id = u.id AND m.token = u.outcome || ':' || u.token AND m.until > v_now));
      v_done := v_done || v_again;
      SELECT string_agg(CASE WHEN u.ord = ANY (v_done) THEN '1' ELSE '0' END, '' ORDER BY u.ord) INTO r.payload
      FROM unnest(p_id) WITH ORDINALITY AS u(id, ord) WHERE u.id IS NOT NULL;
    END IF;
    -- Where a queue's limit kept tasks back, a settlement lets them start, in any process.
    v_wake := v_wake || (SELECT array_agg(name) FROM {s}.queues WHERE name = ANY (p_queues) AND max_active IS NOT NULL);
    r."position" := -2;
    r.envelope := to_json(v_wake)::text;
    RETURN r;
  END $$`,

  `CREATE FUNCTION {s}.extend(p_id text[], p_token text[], p_progress text[], p_lease_ms bigint) RETURNS TABLE (n bigint, cancelled boolean, until bigint)
  LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE v_until bigint := {s}.now_ms() + p_lease_ms;
  BEGIN
    -- From its first heartbeat on a task has a lease of its own.
    PERFORM {s}.write_leases(p_id, p_token);
    RETURN QUERY UPDATE {s}.tasks t SET deadline = v_until, progress = coalesce(g.progress, t.progress)
    FROM unnest(p_id, p_token, p_progress) WITH ORDINALITY AS g(id, token, progress, ord)
    WHERE t.id = g.id AND t.token = g.token RETURNING g.ord, t.cancelling, v_until;
  END $$`,
];
