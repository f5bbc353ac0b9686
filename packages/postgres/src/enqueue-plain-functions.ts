// The functions behind `enqueue` for plain tasks, which have no key and no dependencies: one, or a set at once.
import { manyRows, settings } from "./common-functions.ts";
import {
  insertColumns,
  insertEvents,
  optionalEvents,
  seqStep,
  taskArrays,
  taskNames,
  taskParameters,
} from "./enqueue-functions.ts";

/** Rows are locked in the order of their ids, as everywhere. The subquery is sorted, so it is not merged, and `due` is computed once. */
const insertEach = `INSERT INTO {s}.tasks (${insertColumns})
      SELECT id, seq, queue, name, CASE WHEN due > v_now OR group_key IS NOT NULL THEN 1 ELSE 2 END,
        CASE WHEN priority = 0 AND group_key IS NULL THEN 0 ELSE 1 END, priority, due, due, v_now, coalesce(expires_at, due + expires_in),
        expires_in, max_attempts, result_ttl, remember, group_key, group_limit, envelope, payload
      FROM (
        SELECT v_first + u.ord AS seq, u.id, coalesce(u.name, p_name[1]) AS name, coalesce(u.queue, p_queue[1]) AS queue, u.payload,
          coalesce(u.envelope, p_envelope[1]) AS envelope, coalesce(u.priority, p_priority[1]) AS priority,
          coalesce(u.max_attempts, p_max_attempts[1]) AS max_attempts, u.expires_at, u.expires_in, coalesce(u.result_ttl, v_result_ttl) AS result_ttl,
          coalesce(u.remember, p_remember[1]) AS remember, u.group_key, u.group_limit,
          CASE WHEN u.run_at IS NULL THEN v_now + coalesce(u.delay, 0) ELSE greatest(u.run_at, v_now) END AS due
        FROM unnest(${taskArrays}) WITH ORDINALITY AS u(${taskNames}, ord) WHERE u.id IS NOT NULL ORDER BY u.id COLLATE "C"
      ) given`;

/** The same for tasks that differ in id and payload only and are due now, as those of most bulks are. */
const columnsOfAlike = `id, seq, queue, name, state, lane, priority, ready_at, run_at, enqueued_at, max_attempts, result_ttl, remember_ms,
        envelope, payload`;
const insertAlike = `INSERT INTO {s}.tasks (${columnsOfAlike})
      SELECT id, seq, p_queue[1], p_name[1], 2, CASE WHEN p_priority[1] = 0 THEN 0 ELSE 1 END, p_priority[1], v_now, v_now, v_now,
        p_max_attempts[1], v_result_ttl, p_remember[1], p_envelope[1], payload
      FROM (
        SELECT u.id, v_first + u.ord AS seq, u.payload
        FROM unnest(p_id, p_payload) WITH ORDINALITY AS u(id, payload, ord) WHERE u.id IS NOT NULL ORDER BY u.id COLLATE "C"
      ) given`;
const areAlike = `coalesce(p_run_at, p_delay, p_expires_at, p_expires_in, p_group_limit) IS NULL AND p_group_key IS NULL
      AND 1 = ALL (ARRAY[cardinality(p_name), cardinality(p_queue), cardinality(p_envelope), cardinality(p_priority),
        cardinality(p_max_attempts), cardinality(p_remember), coalesce(cardinality(p_result_ttl), 1)])`;

export const enqueuePlainFunctions: readonly string[] = [
  /*
   * Plain tasks, no id twice in the batch. Gives the ids that were known, or null when all are new. The insert comes first and the look
   * at the remembered ids after it: a task that ends in between is seen by one of them. A column of one value for all may be an array of
   * one; only times to live may be null.
   */
  `CREATE FUNCTION {s}.enqueue_plain(${taskParameters}, ${optionalEvents}) RETURNS text[] LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_now bigint := {s}.now_ms();
    v_first bigint := nextval('{s}.task_seq') * ${seqStep};
    v_size integer := cardinality(p_id);
    v_count bigint;
    v_known text[];
    v_new text[];
    v_least text;
    v_most text;
    v_alike boolean := ${areAlike};
    v_result_ttl bigint := CASE WHEN cardinality(p_result_ttl) = 1 THEN p_result_ttl[1] END;
  BEGIN
    IF v_size >= ${manyRows} THEN
      BEGIN
        IF v_alike THEN
          ${insertAlike};
        ELSE
          ${insertEach};
        END IF;
        GET DIAGNOSTICS v_count = ROW_COUNT;
      EXCEPTION WHEN unique_violation THEN
        v_count := NULL;
      END;
    END IF;
    IF v_count IS NULL THEN
      ${insertEach} ON CONFLICT (id) DO NOTHING;
      GET DIAGNOSTICS v_count = ROW_COUNT;
    END IF;
    -- Ids that were made at one time begin alike, and mostly none of what is remembered lies between them: one look instead of one for each.
    SELECT min(u COLLATE "C"), max(u COLLATE "C") INTO v_least, v_most FROM unnest(p_id) u;
    IF v_size < ${manyRows} OR left(v_least, 8) <> left(v_most, 8)
      OR EXISTS (SELECT 1 FROM {s}.past WHERE task_id >= v_least AND task_id <= v_most) THEN
      SELECT array_agg(r.task_id) INTO v_known FROM {s}.past r WHERE r.task_id = ANY (p_id) AND r.known_until > v_now;
    END IF;
    IF v_count < v_size OR v_known IS NOT NULL THEN
      -- The numbers that this call counts on from its own are its own.
      DELETE FROM {s}.tasks t WHERE t.id = ANY (v_known) AND t.seq > v_first AND t.seq < v_first + ${seqStep};
      SELECT array_agg(t.id) INTO v_new FROM {s}.tasks t WHERE t.id = ANY (p_id) AND t.seq > v_first AND t.seq < v_first + ${seqStep};
      SELECT array_agg(u) INTO v_known FROM unnest(p_id) u WHERE NOT u = ANY (coalesce(v_new, '{}'));
    END IF;
    IF e_id IS NOT NULL THEN
      ${insertEvents} WHERE NOT v.task_id = ANY (coalesce(v_known, '{}')) ON CONFLICT (id) DO NOTHING;
    END IF;
    RETURN v_known;
  END $$`,

  /*
   * One plain task that is due now, without events: what most single calls are. The answer is that of `enqueue_plain`; the parts of it
   * that a single task does not need cost more than its row.
   */
  `CREATE FUNCTION {s}.enqueue_one(p_id text, p_name text, p_queue text, p_payload text, p_envelope text, p_priority bigint, p_max_attempts bigint,
    p_result_ttl bigint, p_remember bigint) RETURNS text[] LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE v_now bigint := {s}.now_ms();
  BEGIN
    INSERT INTO {s}.tasks (${columnsOfAlike})
    VALUES (p_id, nextval('{s}.task_seq') * ${seqStep}, p_queue, p_name, 2, CASE WHEN p_priority = 0 THEN 0 ELSE 1 END, p_priority, v_now, v_now,
      v_now, p_max_attempts, p_result_ttl, p_remember, p_envelope, p_payload)
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN RETURN ARRAY[p_id]; END IF;
    IF EXISTS (SELECT 1 FROM {s}.past WHERE task_id = p_id AND known_until > v_now) THEN
      DELETE FROM {s}.tasks WHERE id = p_id;
      RETURN ARRAY[p_id];
    END IF;
    RETURN NULL;
  END $$`,

  /*
   * Commits what made p_answer, gives it as JSON, and sends a notification in a transaction of its own: in the first it would make all
   * notifying transactions of the database wait for each other's disk. That nobody is told is no error of what is committed: whoever waits for
   * the tasks finds them when it looks again. The same holds if the second transaction fails as it ends, which the client sees (connection.ts).
   */
  `CREATE PROCEDURE {s}.commit_and_tell(p_answer text[], p_channel text, p_text text, INOUT answer text) LANGUAGE plpgsql AS $$
  BEGIN
    answer := pg_catalog.to_json(p_answer)::text;
    COMMIT;
    BEGIN
      IF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.9::pg_catalog.float8 THEN
        PERFORM pg_catalog.pg_notify(p_channel, p_text);
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END $$`,
];
