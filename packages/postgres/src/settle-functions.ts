// The function behind `settle`: everything is fenced by the token; what completed leaves in one statement.
import { settleRepeatMs } from "@omniq/core";
import { settings } from "./common-functions.ts";
import { eventParameters, insertEvents } from "./enqueue-functions.ts";

const resultUpdate = `run = excluded.run, attempt = excluded.attempt, name = excluded.name, queue = excluded.queue, status = excluded.status,
        finished_at = excluded.finished_at, expires_at = excluded.expires_at, error = excluded.error, value = excluded.value`;

/** What completed or was cancelled leaves the queue in one statement. */
const complete = (which: string, found: string, into: string): string => `WITH given AS MATERIALIZED (
      SELECT * FROM unnest(p_id, p_token, p_place, p_outcome, p_store, p_value, p_error) WITH ORDINALITY
        AS u(id, token, place, outcome, store, value, error, ord)
      WHERE u.outcome IN ('completed', 'cancelled') AND ${which}
    ), gone AS (
      DELETE FROM {s}.tasks t USING given g WHERE ${found} AND t.token = g.token
      RETURNING g.ord, g.outcome, g.store, g.value, g.error, g.token, t.id, t.run, t.attempt, t.name, t.queue, t.result_ttl, t.remember_ms,
        t.edges, t.dedup_key, t.group_key
    ), stored AS (
      INSERT INTO {s}.results (task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value)
      SELECT id, run, attempt, name, queue, outcome, v_now, v_now + result_ttl, error, value FROM gone
      WHERE store AND result_ttl IS DISTINCT FROM 0
      ON CONFLICT (task_id) DO UPDATE SET ${resultUpdate} WHERE excluded.run > results.run OR results.expires_at <= v_now
    ), remember AS (
      INSERT INTO {s}.remembered (id, until, token, token_until, gone_at)
      SELECT id, v_now + remember_ms, outcome || ':' || token, v_now + ${settleRepeatMs}, v_now + greatest(remember_ms, ${settleRepeatMs}) FROM gone
      ON CONFLICT (id) DO UPDATE SET until = excluded.until, token = excluded.token, token_until = excluded.token_until, gone_at = excluded.gone_at
    ), edges AS (
      DELETE FROM {s}.dependencies d USING gone g WHERE g.edges > 0 AND d.child = g.id
    ), keys AS (
      DELETE FROM {s}.deduplication d USING gone g
      WHERE g.dedup_key IS NOT NULL AND d.queue = g.queue AND d.key = g.dedup_key AND d.task_id = g.id AND d.until IS NULL
    ), changes AS (
      INSERT INTO {s}.group_changes SELECT DISTINCT queue, group_key FROM gone WHERE group_key IS NOT NULL
    )
    SELECT array_agg(ord), array_agg(id), array_agg(run), array_agg(attempt), array_agg(outcome),
      array_agg(DISTINCT queue) FILTER (WHERE group_key IS NOT NULL)
    INTO ${into} FROM gone;`;

export const settleFunctions: readonly string[] = [
  /*
   * Ends leases. The arrays are in the order of the ids, so that two calls never wait for each other in a circle. Gives one row of position
   * -2: \`payload\` has '1' for each that is settled and '0' for each that is lost, null when all are settled; \`envelope\` the queues to
   * wake, as JSON. \`p_keys\`: some of the tasks may have a deduplication key. Only active tasks have a token, so no condition names the
   * state: with one, a plan made early may walk the index of active tasks for each settlement.
   */
  `CREATE FUNCTION {s}.settle(p_id text[], p_token text[], p_place tid[], p_outcome text[], p_store boolean[], p_value text[], p_error text[],
    p_delay bigint[], p_queues text[], p_keys boolean, ${eventParameters}) RETURNS {s}.lease LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint;
    v_done bigint[];
    v_again bigint[];
    v_ended text[];
    v_runs integer[];
    v_attempts integer[];
    v_statuses text[];
    v_orders bigint[];
    v_ids text[];
    v_some_runs integer[];
    v_some_attempts integer[];
    v_some_statuses text[];
    v_names text[];
    v_wake text[];
    v_at integer;
    g record;
    t {s}.tasks;
    r {s}.lease;
  BEGIN
    IF p_keys THEN PERFORM {s}.lock_keys(p_id); END IF;
    v_now := {s}.now_ms();
    -- Most rows are where they were when they were leased.
    ${complete("u.place IS NOT NULL", "t.ctid = g.place AND t.id || '' = g.id", "v_done, v_ended, v_runs, v_attempts, v_statuses, v_wake")}
    v_done := coalesce(v_done, '{}');

    IF cardinality(v_done) < cardinality(p_id) THEN
      -- A heartbeat or a cancellation moved the row since.
      ${complete("NOT u.ord = ANY (v_done)", "t.id = g.id", "v_again, v_ids, v_some_runs, v_some_attempts, v_some_statuses, v_names")}
      v_done := v_done || v_again;
      v_ended := v_ended || v_ids;
      v_runs := v_runs || v_some_runs;
      v_attempts := v_attempts || v_some_attempts;
      v_statuses := v_statuses || v_some_statuses;
      v_wake := v_wake || v_names;
    END IF;
    v_orders := v_done;

    IF cardinality(v_done) < cardinality(p_id) THEN
      FOR g IN
        SELECT * FROM unnest(p_id, p_token, p_outcome, p_store, p_value, p_error, p_delay) WITH ORDINALITY
          AS u(id, token, outcome, store, value, error, delay, ord) WHERE u.outcome IN ('failed', 'retry', 'release') ORDER BY u.ord
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
            INSERT INTO {s}.results (task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value)
            VALUES (t.id, t.run, t.attempt, t.name, t.queue, 'failed', v_now, v_now + t.result_ttl, g.error, g.value)
            ON CONFLICT (task_id) DO UPDATE SET ${resultUpdate} WHERE excluded.run > results.run OR results.expires_at <= v_now;
          END IF;
          UPDATE {s}.tasks SET state = 5, finished_at = v_now, error = g.error, slot = false, token = NULL, deadline = NULL WHERE id = t.id;
          IF t.dedup_key IS NOT NULL THEN
            DELETE FROM {s}.deduplication WHERE queue = t.queue AND key = t.dedup_key AND task_id = t.id AND until IS NULL;
          END IF;
          IF t.group_key IS NOT NULL THEN
            INSERT INTO {s}.group_changes VALUES (t.queue, t.group_key);
            v_wake := v_wake || t.queue;
          END IF;
          v_ended := v_ended || t.id;
          v_runs := v_runs || t.run;
          v_attempts := v_attempts || t.attempt;
          v_statuses := v_statuses || 'failed'::text;
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
      FOR g IN SELECT DISTINCT parent_id AS id FROM {s}.dependencies WHERE parent_id = ANY (v_ended) AND status IS NULL ORDER BY 1 LOOP
        v_at := array_position(v_ended, g.id);
        v_wake := v_wake || {s}.tell(g.id, v_statuses[v_at], v_runs[v_at], v_attempts[v_at], v_now, p_value[v_orders[v_at]],
          p_error[v_orders[v_at]], v_now);
      END LOOP;
    END IF;

    IF e_id IS NOT NULL THEN
      ${insertEvents} WHERE v.owner = ANY (v_done) ON CONFLICT (id) DO NOTHING;
    END IF;

    IF cardinality(v_done) < cardinality(p_id) THEN
      SELECT array_agg(u.ord) INTO v_again FROM unnest(p_id, p_token, p_outcome) WITH ORDINALITY AS u(id, token, outcome, ord)
      WHERE NOT u.ord = ANY (v_done) AND (
        EXISTS (SELECT 1 FROM {s}.remembered m WHERE m.id = u.id AND m.token = u.outcome || ':' || u.token AND m.token_until > v_now)
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
    RETURN QUERY UPDATE {s}.tasks t SET deadline = v_until, progress = coalesce(g.progress, t.progress)
    FROM unnest(p_id, p_token, p_progress) WITH ORDINALITY AS g(id, token, progress, ord)
    WHERE t.id = g.id AND t.token = g.token RETURNING g.ord, t.cancelling, v_until;
  END $$`,
];
