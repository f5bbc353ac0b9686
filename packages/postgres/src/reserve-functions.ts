// The functions behind `reserve`: upkeep of the queues asked for, groups, and the claims.
import { expiriesLimit, expiryPauseMs } from "@omniq/core";
import { coverable, lockKey, settings } from "./common-functions.ts";

/** How the edges of a task are shown: in the order given, as JSON. */
export const edgesOfTask = `CASE WHEN t.edges > 0 THEN (SELECT json_agg(json_build_object('taskId', d.parent_id, 'status', d.status, 'run', d.run,
      'attempt', d.attempt, 'finishedAt', d.finished_at, 'value', d.value, 'error', d.error) ORDER BY d.position)::text
      FROM {s}.dependencies d WHERE d.child = t.id) END`;

/**
 * What is given of a leased task, in the order of the type `lease`. Null stands for what is usual: the first attempt of the first run,
 * priority 0, started now, enqueued and made ready at `run_at`, and the queue of that position.
 */
const leaseColumns = (
  attempt: string,
  started: string,
): string => `t.id, t.name, NULL::text, t.payload, t.envelope, NULLIF(t.priority, 0::smallint),
      t.max_attempts, t.result_ttl, NULLIF(t.run, 1), NULLIF(${attempt}, 1), NULLIF(t.expiries, 0), NULLIF(t.enqueued_at, t.run_at), t.run_at,
      t.expires_at, NULLIF(${started}, v_now), NULLIF(t.cancelling, false), t.dedup_key, t.group_key, t.group_limit, t.progress, t.error,
      NULLIF(t.lane, 0::smallint), NULLIF(t.ready_at, t.run_at), t.seq, v_now + p_lease_ms, ${edgesOfTask}, t.ctid`;

export const leaseType = `CREATE TYPE {s}.lease AS ("position" integer, id text, name text, queue text, payload text, envelope text, priority smallint,
    max_attempts bigint, result_ttl bigint, run integer, attempt integer, expiries integer, enqueued_at bigint, run_at bigint,
    expires_at bigint, started_at bigint, cancelling boolean, dedup_key text, group_key text, group_limit bigint, progress text, error text,
    lane smallint, ready_at bigint, seq bigint, deadline bigint, edges text, place tid)`;

const inTime = "(t.expires_at IS NULL OR t.started_at IS NOT NULL OR t.expires_at > v_now)";
const startOf = `state = 4, apart = true, attempt = t.attempt + 1, token = p_token, deadline = v_now + p_lease_ms, worker = p_worker,
        started_at = coalesce(t.started_at, v_now)`;
const ownLease = leaseColumns("t.attempt", "t.started_at");

/** Tasks that rows of `leases` cover, of those at or after a place; a set that is made once for a statement. */
const covered = (beyond: string): string => `SELECT u FROM {s}.leases l, unnest(l.seqs) u WHERE l.queue = q${beyond}`;

/** Claims up to `v_want` tasks of lane 1 at once. The row found is locked, so its place in the table does not change before the update. */
const claimEarly = (which: string): string => `RETURN QUERY UPDATE {s}.tasks t SET ${startOf}
          FROM (SELECT t.ctid AS place FROM {s}.tasks t
                WHERE t.queue = q AND t.state = 2 AND t.lane = 1 AND ${which} AND ${inTime}
                ORDER BY t.priority DESC, t.ready_at, t.seq LIMIT v_want FOR NO KEY UPDATE SKIP LOCKED) c
          WHERE t.ctid = c.place RETURNING i, ${ownLease};
          GET DIAGNOSTICS v_count = ROW_COUNT;
          v_want := v_want - v_count;`;

/**
 * Claims up to `v_want` tasks of lane 0, from a place on or from the beginning. The rows are locked first. Another claim may have taken some
 * of them after this one began to look and before it had the lock; a second look, which begins after all locks are there, sees its
 * leases. What is plain is covered by one row of `leases` and not written; the rest has a lease of its own.
 */
const claim = (from: "place" | "beginning"): string => {
  const [after, beyond] =
    from === "place"
      ? [" AND (t.ready_at, t.seq) > (v_ready, v_seq)", " AND (l.last_ready, l.last_seq) > (v_ready, v_seq)"]
      : ["", ""];
  return `LOOP
            SELECT array_agg(c.place) FILTER (WHERE c.plain), array_agg(c.seq) FILTER (WHERE c.plain),
              array_agg(c.place) FILTER (WHERE NOT c.plain), max(c.ready_at), min(c.seq), max(c.seq)
            INTO v_places, v_seqs, v_apart, v_last_ready, v_first_seq, v_last_seq FROM (
              SELECT t.ctid AS place, t.seq, t.ready_at,
                v_cover AND NOT t.apart AND t.dedup_key IS NULL AND t.edges = 0 AND t.expires_at IS NULL AS plain
              FROM {s}.tasks t WHERE t.queue = q AND t.state = 2 AND t.lane = 0${after} AND ${inTime} AND t.seq NOT IN (${covered(beyond)})
              ORDER BY t.ready_at, t.seq LIMIT v_want FOR NO KEY UPDATE SKIP LOCKED) c;
            v_again := false;
            IF v_seqs IS NOT NULL THEN
              IF EXISTS (SELECT 1 FROM {s}.leases l WHERE l.queue = q${beyond}) THEN
                SELECT array_agg(u) INTO v_taken FROM {s}.leases l, unnest(l.seqs) u
                WHERE l.queue = q${beyond} AND (u IN (SELECT unnest(v_seqs))) IS TRUE;
                IF v_taken IS NOT NULL THEN
                  v_again := true;
                  SELECT array_agg(x.place), array_agg(x.seq) INTO v_places, v_seqs FROM unnest(v_places, v_seqs) AS x(place, seq)
                  WHERE NOT x.seq = ANY (v_taken);
                END IF;
              END IF;
              IF v_seqs IS NOT NULL THEN
                RETURN QUERY SELECT i, ${leaseColumns("t.attempt + 1", "coalesce(t.started_at, v_now)")}
                FROM unnest(v_places) AS c(place), {s}.tasks t WHERE t.ctid = c.place;
                INSERT INTO {s}.leases (token, queue, worker, leased_at, deadline, first_seq, last_seq, last_ready, seqs)
                VALUES (p_token, q, p_worker, v_now, v_now + p_lease_ms, v_first_seq, v_last_seq, v_last_ready, v_seqs)
                ON CONFLICT (token, queue) DO UPDATE SET first_seq = least(leases.first_seq, excluded.first_seq),
                  last_seq = greatest(leases.last_seq, excluded.last_seq), last_ready = greatest(leases.last_ready, excluded.last_ready),
                  seqs = leases.seqs || excluded.seqs;
                v_want := v_want - cardinality(v_seqs);
              END IF;
            END IF;
            IF v_apart IS NOT NULL THEN
              RETURN QUERY UPDATE {s}.tasks t SET ${startOf} FROM unnest(v_apart) AS c(place) WHERE t.ctid = c.place RETURNING i, ${ownLease};
              v_want := v_want - cardinality(v_apart);
            END IF;
            EXIT WHEN NOT v_again OR v_want <= 0;
          END LOOP;`;
};

export const reserveFunctions: readonly string[] = [
  leaseType,

  // Makes due tasks ready. Those of groups are held back until their group is looked at, which needs the lock of the queue's groups.
  `CREATE FUNCTION {s}.promote(q text, v_now bigint, p_bound integer, p_grouped boolean) RETURNS integer LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE v_count integer;
  BEGIN
    IF NOT EXISTS (SELECT 1 FROM {s}.tasks WHERE queue = q AND state = 1 AND run_at <= v_now) THEN RETURN 0; END IF;
    WITH due AS (
      SELECT id FROM {s}.tasks WHERE queue = q AND state = 1 AND run_at <= v_now AND (group_key IS NULL OR slot OR p_grouped)
      ORDER BY run_at, seq LIMIT p_bound FOR NO KEY UPDATE SKIP LOCKED
    ), moved AS (
      UPDATE {s}.tasks t SET state = CASE WHEN t.group_key IS NULL OR t.slot THEN 2 ELSE 3 END FROM due WHERE t.id = due.id
      RETURNING t.state, t.group_key
    ), changes AS (
      INSERT INTO {s}.group_changes SELECT DISTINCT q, group_key FROM moved WHERE state = 3
    )
    SELECT count(*) INTO v_count FROM moved;
    RETURN v_count;
  END $$`,

  // Ends dead leases and expires tasks that did not start in time.
  `CREATE FUNCTION {s}.end_leases(q text, v_now bigint, p_bound integer) RETURNS integer LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    t {s}.tasks;
    v_count integer := 0;
    v_due bigint;
    l {s}.leases;
    v_seqs bigint[];
  BEGIN
    -- What others hold the lock of is about to change, or is looked at by a claim for a moment; it stays for the next time.
    FOR l IN SELECT * FROM {s}.leases WHERE queue = q AND deadline <= v_now ORDER BY deadline LIMIT p_bound FOR UPDATE SKIP LOCKED LOOP
      SELECT array_agg(x.seq) INTO v_seqs FROM (
        SELECT seq FROM {s}.tasks WHERE seq = ANY (l.seqs) AND ${coverable} FOR NO KEY UPDATE SKIP LOCKED) x;
      IF v_seqs IS NOT NULL THEN PERFORM {s}.write_lease(l.token, l.queue, v_seqs); END IF;
      DELETE FROM {s}.leases WHERE token = l.token AND queue = l.queue
        AND NOT EXISTS (SELECT 1 FROM {s}.tasks WHERE seq = ANY (l.seqs) AND ${coverable});
    END LOOP;
    FOR t IN
      SELECT * FROM {s}.tasks WHERE queue = q AND state = 4 AND deadline <= v_now ORDER BY deadline LIMIT p_bound
      FOR NO KEY UPDATE SKIP LOCKED
    LOOP
      v_count := v_count + 1;
      IF t.cancelling THEN
        PERFORM {s}.decide(t, 6, t.error, t.attempt - 1, t.expiries + 1, v_now);
      ELSIF t.expiries + 1 >= ${expiriesLimit} THEN
        PERFORM {s}.decide(t, 5, json_build_object('code', 'OMNIQ_LEASE_LOST', 'message',
          'Its lease ran out ' || (t.expiries + 1) || ' times: the worker died, hung, or lost its connection each time')::text,
          t.attempt - 1, t.expiries + 1, v_now);
      ELSE
        v_due := v_now + 1 + floor(random() * ${expiryPauseMs})::bigint;
        UPDATE {s}.tasks SET state = 1, attempt = attempt - 1, expiries = expiries + 1, run_at = v_due, ready_at = v_due,
          slot = (slot AND group_limit = 1), token = NULL, deadline = NULL, worker = NULL WHERE id = t.id;
        IF t.group_key IS NOT NULL AND t.group_limit <> 1 THEN INSERT INTO {s}.group_changes VALUES (q, t.group_key); END IF;
      END IF;
    END LOOP;
    FOR t IN
      SELECT * FROM {s}.tasks WHERE queue = q AND expires_at IS NOT NULL AND started_at IS NULL AND state < 4 AND expires_at <= v_now
      ORDER BY expires_at LIMIT p_bound FOR NO KEY UPDATE SKIP LOCKED
    LOOP
      v_count := v_count + 1;
      PERFORM {s}.decide(t, 7, t.error, t.attempt, t.expiries, v_now);
    END LOOP;
    RETURN v_count;
  END $$`,

  /*
   * Puts the group's best task that may start now into the ready index, and takes out what may not or is not the best. One candidate
   * is enough: when it is taken, the next one takes its place. So the index never holds what a full group keeps back, and the cost does
   * not grow with the group's backlog: the best of each limit is the first of its index range. The caller has the lock of the queue's
   * groups; rows that others hold are on their way out and are passed over. Says whether a task became ready.
   */
  `CREATE FUNCTION {s}.refill(q text, p_key text) RETURNS boolean LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    v_slots bigint;
    v_limit bigint;
    v_next bigint;
    candidate {s}.tasks;
    best {s}.tasks;
    one {s}.tasks;
  BEGIN
    SELECT count(*) INTO v_slots FROM {s}.tasks WHERE queue = q AND group_key = p_key AND slot;
    SELECT * INTO candidate FROM {s}.tasks WHERE queue = q AND group_key = p_key AND state = 2 AND NOT slot AND group_key IS NOT NULL
    LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
    v_limit := v_slots;
    LOOP
      SELECT min(group_limit) INTO v_next FROM {s}.tasks WHERE state = 3 AND queue = q AND group_key = p_key AND group_limit > v_limit;
      EXIT WHEN v_next IS NULL;
      SELECT * INTO one FROM {s}.tasks WHERE state = 3 AND queue = q AND group_key = p_key AND group_limit = v_next
      ORDER BY priority DESC, ready_at, seq LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED;
      IF FOUND AND (best.id IS NULL OR (-one.priority, one.ready_at, one.seq) < (-best.priority, best.ready_at, best.seq)) THEN
        best := one;
      END IF;
      v_limit := v_next;
    END LOOP;
    IF candidate.id IS NOT NULL THEN
      IF candidate.group_limit > v_slots AND (best.id IS NULL
        OR (-candidate.priority, candidate.ready_at, candidate.seq) < (-best.priority, best.ready_at, best.seq)) THEN
        RETURN false;
      END IF;
      UPDATE {s}.tasks SET state = 3 WHERE id = candidate.id;
    END IF;
    IF best.id IS NULL THEN RETURN false; END IF;
    UPDATE {s}.tasks SET state = 2 WHERE id = best.id;
    RETURN true;
  END $$`,

  `CREATE FUNCTION {s}.refill_changed(q text) RETURNS void LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE g record;
  BEGIN
    FOR g IN
      WITH changed AS (DELETE FROM {s}.group_changes WHERE queue = q RETURNING key) SELECT DISTINCT key FROM changed ORDER BY key
    LOOP
      PERFORM {s}.refill(q, g.key);
    END LOOP;
  END $$`,

  // How many tasks the queue's own limits let start now; null without limits. The row of a limited queue is locked by the caller.
  `CREATE FUNCTION {s}.room(s {s}.queues, v_now bigint) RETURNS bigint LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE
    v_active bigint;
    v_room bigint;
  BEGIN
    IF s.max_active IS NOT NULL THEN
      -- Claims of a queue that has this limit give each task a lease of its own; others may be from before it was set.
      SELECT count(*) INTO v_active FROM (
        (SELECT 1 FROM {s}.tasks WHERE queue = s.name AND state = 4 LIMIT s.max_active)
        UNION ALL (SELECT 1 FROM {s}.leases l, unnest(l.seqs) u, {s}.tasks t WHERE l.queue = s.name AND t.seq = u AND ${coverable} LIMIT s.max_active)
        LIMIT s.max_active) a;
      v_room := s.max_active - v_active;
    END IF;
    IF s.rate_limit IS NOT NULL THEN
      -- The small addition is for limits whose step is not a binary fraction: a full bucket holds exactly its limit.
      v_room := least(v_room, floor((v_now + s.rate_window - greatest(coalesce(s.rate_arrival, 0), v_now))
        / (s.rate_window::double precision / s.rate_limit) + 1e-6)::bigint);
    END IF;
    RETURN v_room;
  END $$`,

  /*
   * Leases up to p_limit tasks of the queues, in their order. \`p_after_*\`: where lane 0 of each queue was found to begin before; it is
   * looked at from its true beginning when that gives too little. Without leases one row of position -1 says in \`deadline\` in how many
   * milliseconds something may be there. \`p_done\`: tokens of leases that have all been settled.
   */
  `CREATE FUNCTION {s}.reserve(p_queues text[], p_limit integer, p_lease_ms bigint, p_worker text, p_token text, p_upkeep boolean,
    p_after_ready bigint[], p_after_seq bigint[], p_done text[]) RETURNS SETOF {s}.lease LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    c_bound CONSTANT integer := 1000;
    v_now bigint;
    v_left bigint := p_limit;
    v_want bigint;
    v_asked bigint;
    v_room bigint;
    v_count bigint;
    v_grouped text[] := '{}';
    v_early boolean;
    v_again boolean;
    v_ready bigint;
    v_seq bigint;
    v_next bigint;
    v_cover boolean;
    v_places tid[];
    v_seqs bigint[];
    v_apart tid[];
    v_taken bigint[];
    v_last_ready bigint;
    v_first_seq bigint;
    v_last_seq bigint;
    i integer;
    q text;
    s {s}.queues;
    one record;
    found_one {s}.tasks;
    r {s}.lease;
  BEGIN
    IF p_done IS NOT NULL THEN
      DELETE FROM {s}.leases WHERE (token, queue) IN (
        SELECT token, queue FROM {s}.leases WHERE token = ANY (p_done) FOR UPDATE SKIP LOCKED);
    END IF;
    -- Whoever changes a queue's settings waits for the claims that are under way, so that nothing is handed out after a pause.
    FOREACH q IN ARRAY p_queues LOOP PERFORM pg_advisory_xact_lock_shared(${lockKey("q", "q")}); END LOOP;
    IF EXISTS (SELECT 1 FROM {s}.queues WHERE name = ANY (p_queues) AND (max_active IS NOT NULL OR rate_limit IS NOT NULL)) THEN
      PERFORM 1 FROM {s}.queues WHERE name = ANY (p_queues) AND (max_active IS NOT NULL OR rate_limit IS NOT NULL) ORDER BY name FOR UPDATE;
    END IF;
    FOR q IN SELECT u FROM unnest(p_queues) u WHERE EXISTS
      (SELECT 1 FROM {s}.tasks WHERE queue = u AND group_key IS NOT NULL AND state IN (1, 2, 3)) ORDER BY ${lockKey("g", "u")}
    LOOP
      PERFORM pg_advisory_xact_lock(${lockKey("g", "q")});
      v_grouped := v_grouped || q;
    END LOOP;
    v_now := {s}.now_ms();

    FOR i IN 1 .. cardinality(p_queues) LOOP
      EXIT WHEN v_left <= 0;
      q := p_queues[i];
      SELECT * INTO s FROM {s}.queues WHERE name = q;
      v_ready := p_after_ready[i];
      v_seq := p_after_seq[i];
      IF p_upkeep THEN PERFORM {s}.end_leases(q, v_now, c_bound); END IF;
      IF {s}.promote(q, v_now, c_bound, q = ANY (v_grouped)) > 0 THEN v_ready := 0; END IF;
      IF q = ANY (v_grouped) THEN PERFORM {s}.refill_changed(q); END IF;
      v_want := v_left;
      IF s.paused THEN
        v_want := 0;
      ELSIF s.max_active IS NOT NULL OR s.rate_limit IS NOT NULL THEN
        v_room := {s}.room(s, v_now);
        v_want := greatest(0, least(v_left, v_room));
      END IF;
      v_asked := v_want;
      v_cover := s.max_active IS NULL;
      IF v_want > 0 AND q = ANY (v_grouped) THEN
        LOOP
          v_again := false;
          FOR one IN
            SELECT u.id FROM (
              (SELECT t.id, t.priority, t.ready_at, t.seq FROM {s}.tasks t WHERE t.queue = q AND t.state = 2 AND t.lane = 1 AND ${inTime}
               ORDER BY t.priority DESC, t.ready_at, t.seq LIMIT least(v_want, 50))
              UNION ALL
              (SELECT t.id, t.priority, t.ready_at, t.seq FROM {s}.tasks t WHERE t.queue = q AND t.state = 2 AND t.lane = 0 AND ${inTime}
               AND t.seq NOT IN (${covered("")}) ORDER BY t.ready_at, t.seq LIMIT least(v_want, 50))
            ) u ORDER BY u.priority DESC, u.ready_at, u.seq LIMIT least(v_want, 50)
          LOOP
            SELECT * INTO found_one FROM {s}.tasks t WHERE t.id = one.id FOR NO KEY UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND OR found_one.state <> 2;
            -- A claim that knew of no groups may have covered it since.
            CONTINUE WHEN found_one.lane = 0 AND found_one.seq IN (${covered("")});
            RETURN QUERY UPDATE {s}.tasks t SET ${startOf}, slot = (t.group_key IS NOT NULL) WHERE t.id = one.id RETURNING i, ${ownLease};
            v_want := v_want - 1;
            v_again := true;
            IF found_one.group_key IS NOT NULL AND NOT found_one.slot THEN
              EXIT WHEN {s}.refill(q, found_one.group_key);
            END IF;
          END LOOP;
          EXIT WHEN NOT v_again OR v_want <= 0;
        END LOOP;
      ELSIF v_want > 0 THEN
        v_early := EXISTS (SELECT 1 FROM {s}.tasks WHERE queue = q AND state = 2 AND lane = 1);
        IF v_early THEN
          ${claimEarly("t.priority >= 0")}
        END IF;
        IF v_want > 0 AND v_ready > 0 THEN
          ${claim("place")}
        END IF;
        IF v_want > 0 THEN
          ${claim("beginning")}
        END IF;
        IF v_want > 0 AND v_early THEN
          ${claimEarly("t.priority < 0")}
        END IF;
      END IF;
      v_left := v_left - (v_asked - v_want);
      IF v_asked > v_want AND s.rate_limit IS NOT NULL THEN
        UPDATE {s}.queues SET rate_arrival = greatest(coalesce(rate_arrival, 0), v_now)
          + (v_asked - v_want) * (rate_window::double precision / rate_limit) WHERE name = q;
      END IF;
      IF NOT p_upkeep AND (v_want > 0 OR v_asked = 0) THEN
        PERFORM {s}.end_leases(q, v_now, c_bound);
      END IF;
    END LOOP;

    IF v_left = p_limit THEN
      SELECT min(at) INTO v_next FROM unnest(p_queues) u, LATERAL (
        (SELECT run_at AS at FROM {s}.tasks WHERE queue = u AND state = 1 ORDER BY run_at LIMIT 1)
        UNION ALL (SELECT deadline FROM {s}.tasks WHERE queue = u AND state = 4 ORDER BY deadline LIMIT 1)
        UNION ALL (SELECT deadline FROM {s}.leases WHERE queue = u ORDER BY deadline LIMIT 1)
        UNION ALL (SELECT expires_at FROM {s}.tasks WHERE queue = u AND expires_at IS NOT NULL AND started_at IS NULL AND state < 4
          ORDER BY expires_at LIMIT 1)
        UNION ALL (SELECT ceil(rate_arrival + rate_window::double precision / rate_limit - rate_window)::bigint FROM {s}.queues
          WHERE name = u AND rate_limit IS NOT NULL AND rate_arrival IS NOT NULL AND NOT paused
          AND EXISTS (SELECT 1 FROM {s}.tasks t WHERE t.queue = u AND t.state = 2))
      ) x;
      IF v_next IS NOT NULL THEN
        r."position" := -1;
        r.deadline := v_next - {s}.now_ms();
        RETURN NEXT r;
      END IF;
    END IF;
  END $$`,
];
