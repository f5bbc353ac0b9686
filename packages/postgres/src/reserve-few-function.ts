// The function behind a claim of a worker that was woken: mostly one task is there, and how soon it starts is a matter of how much runs.
import { columnsOfMany, covered, inTime, plain } from "./claim-statements.ts";
import { settings, settingsLock } from "./common-functions.ts";

/** So few rows are given one by one, without the aggregates that make one text of many. */
const few = 8;

const beyond = " AND (l.last_ready, l.last_seq) > (p_ready, p_seq)";

export const reserveFewFunction: string =
  /*
   * Claims up to a few plain tasks of lane 0, from a place on, where nothing else of the queue could start: no limits, no due tasks, no
   * priorities, no groups that changed: asked in the statement that claims, so that all is seen as of one moment. In all other cases, and where
   * it finds nothing, it is `reserve`. As there, the rows are locked first, and the row of `leases` is stored only if no other claim has
   * covered one of them meanwhile.
   */
  `CREATE FUNCTION {s}.reserve_few(q text, p_limit integer, p_lease_ms bigint, p_worker text, p_token text, p_ready bigint, p_seq bigint,
    p_bytes bigint) RETURNS SETOF {s}.lease LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    v_held boolean := pg_advisory_xact_lock_shared(${settingsLock}) IS NULL;
    v_now bigint := {s}.now_ms();
    v_seqs bigint[] := '{}';
    v_rows {s}.lease[] := '{}';
    v_last_ready bigint;
    v_last_seq bigint;
    v_bytes bigint := 0;
    one record;
  BEGIN
    FOR one IN
      SELECT t.ctid AS place, t.seq, t.ready_at, ${columnsOfMany}, ${plain} AS plain
      FROM {s}.tasks t
      WHERE t.queue = q AND t.state = 2 AND t.lane = 0 AND (t.ready_at, t.seq) > (p_ready, p_seq) AND ${inTime}
        AND t.seq NOT IN (${covered(beyond)})
        AND NOT EXISTS (SELECT 1 FROM {s}.queues x WHERE x.name = q AND (x.paused OR x.max_active IS NOT NULL OR x.rate_limit IS NOT NULL))
        AND NOT EXISTS (SELECT 1 FROM {s}.tasks x WHERE x.queue = q AND x.state = 1 AND x.run_at <= v_now)
        AND NOT EXISTS (SELECT 1 FROM {s}.tasks x WHERE x.queue = q AND x.state = 2 AND x.lane = 1)
        AND NOT EXISTS (SELECT 1 FROM {s}.group_changes x WHERE x.queue = q)
      ORDER BY t.ready_at, t.seq LIMIT least(p_limit, ${few}) FOR NO KEY UPDATE SKIP LOCKED
    LOOP
      v_bytes := v_bytes + octet_length(one.payload);
      EXIT WHEN NOT one.plain OR v_last_seq IS NOT NULL AND v_bytes > p_bytes;
      v_seqs := v_seqs || one.seq;
      v_last_ready := one.ready_at;
      v_last_seq := greatest(v_last_seq, one.seq);
      v_rows := v_rows || ROW(1, one.id, one.name, NULL, one.payload, one.envelope, NULL, one.max_attempts, one.result_ttl, NULL, NULL, NULL,
        one.enqueued_at, one.run_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, one.ready_at, one.seq, v_now + p_lease_ms, NULL, one.place,
        NULL)::{s}.lease;
    END LOOP;
    IF v_last_seq IS NOT NULL THEN
      INSERT INTO {s}.leases (token, queue, worker, leased_at, deadline, first_seq, last_seq, last_ready, seqs)
      SELECT p_token, q, p_worker, v_now, v_now + p_lease_ms, (SELECT min(u) FROM unnest(v_seqs) u), v_last_seq, v_last_ready, v_seqs
      WHERE NOT EXISTS (SELECT 1 FROM {s}.leases l WHERE l.queue = q${beyond} AND l.seqs && v_seqs);
      IF FOUND THEN
        RETURN QUERY SELECT * FROM unnest(v_rows);
        RETURN;
      END IF;
    END IF;
    RETURN QUERY SELECT * FROM {s}.reserve(ARRAY[q], p_limit, p_lease_ms, p_worker, p_token, false, ARRAY[p_ready], ARRAY[p_seq], NULL,
      p_bytes);
  END $$`;
