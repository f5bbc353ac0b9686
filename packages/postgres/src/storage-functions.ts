// The functions behind the result, event and schedule storages.
import { putColumns, settings } from "./common-functions.ts";
import { eventParameters, insertEvents } from "./enqueue-functions.ts";

export const storageFunctions: readonly string[] = [
  /*
   * Stores each result if none stands, or one of a lower run, or one that is past its time; gives those that stand then, in order. One
   * by one in the order given, since a batch may have several of one task; locked in the order of the ids first.
   */
  `CREATE FUNCTION {s}.put_results(p_task text[], p_run bigint[], p_attempt bigint[], p_name text[], p_queue text[], p_status text[],
    p_finished bigint[], p_ttl bigint[], p_error text[], p_value text[]) RETURNS SETOF {s}.past LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint;
    g record;
  BEGIN
    PERFORM 1 FROM {s}.past WHERE task_id = ANY (p_task) ORDER BY task_id FOR UPDATE;
    v_now := {s}.now_ms();
    FOR g IN
      SELECT * FROM unnest(p_task, p_run, p_attempt, p_name, p_queue, p_status, p_finished, p_ttl, p_error, p_value) WITH ORDINALITY
        AS u(task_id, run, attempt, name, queue, status, finished, ttl, error, value, ord) WHERE u.task_id IS NOT NULL ORDER BY u.ord
    LOOP
      INSERT INTO {s}.past (task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value)
      VALUES (g.task_id, g.run, g.attempt, g.name, g.queue, g.status, coalesce(g.finished, v_now), coalesce(g.finished, v_now) + g.ttl, g.error, g.value)
      ON CONFLICT (task_id) DO UPDATE SET ${putColumns};
      RETURN QUERY SELECT * FROM {s}.past WHERE task_id = g.task_id;
    END LOOP;
  END $$`,

  /* The results of these tasks. */
  `CREATE FUNCTION {s}.get_results(p_ids text[]) RETURNS SETOF {s}.past LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
  BEGIN
    RETURN QUERY SELECT * FROM {s}.past WHERE task_id = ANY (p_ids) AND status IS NOT NULL AND (expires_at IS NULL OR expires_at > v_now);
  END $$`,

  /*
   * Takes away the results of these tasks, or of at most p_limit tasks that are past their time. What the queue remembers stays as long
   * as it must. Gives how many there were.
   */
  `CREATE FUNCTION {s}.drop_results(p_ids text[], p_limit integer) RETURNS bigint LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
    v_ids text[];
  BEGIN
    IF p_ids IS NULL THEN
      SELECT array_agg(x.task_id) INTO v_ids FROM (
        SELECT task_id FROM {s}.past WHERE expires_at <= v_now ORDER BY expires_at LIMIT p_limit FOR UPDATE SKIP LOCKED) x;
    ELSE
      SELECT array_agg(x.task_id) INTO v_ids FROM (
        SELECT task_id FROM {s}.past WHERE task_id = ANY (p_ids) AND status IS NOT NULL ORDER BY task_id FOR UPDATE) x;
    END IF;
    DELETE FROM {s}.past WHERE task_id = ANY (v_ids) AND known_until <= v_now AND mark_until <= v_now;
    UPDATE {s}.past SET status = NULL, finished_at = NULL, expires_at = NULL, run = NULL, attempt = NULL, name = NULL, queue = NULL,
      error = NULL, value = NULL, forget_at = greatest(known_until, mark_until) WHERE task_id = ANY (v_ids);
    RETURN coalesce(cardinality(v_ids), 0);
  END $$`,

  /*
   * p_any: whatever is stored. Else p_expected is the revision to replace, null if there must be none. Gives whether it was stored.
   */
  `CREATE FUNCTION {s}.put_schedule(p_id text, p_rule text, p_template text, p_next bigint, p_runs bigint, p_paused boolean, p_new text,
    p_any boolean, p_expected text) RETURNS boolean LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  BEGIN
    IF p_any OR p_expected IS NULL THEN
      INSERT INTO {s}.schedules (id, rule, template, next_at, runs, paused, revision)
      VALUES (p_id, p_rule, p_template, p_next, p_runs, p_paused, p_new)
      ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, template = excluded.template, next_at = excluded.next_at, runs = excluded.runs,
        paused = excluded.paused, revision = excluded.revision
      WHERE p_any;
    ELSE
      UPDATE {s}.schedules SET rule = p_rule, template = p_template, next_at = p_next, runs = p_runs, paused = p_paused, revision = p_new
      WHERE id = p_id AND revision = p_expected;
    END IF;
    RETURN FOUND;
  END $$`,

  // An event whose id is there already changes nothing.
  `CREATE FUNCTION {s}.append(${eventParameters}) RETURNS void LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  BEGIN
    ${insertEvents} ON CONFLICT (id) DO NOTHING;
  END $$`,
];
