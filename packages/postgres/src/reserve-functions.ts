// The functions behind `reserve`: upkeep of the queues asked for, groups, and the claims.
import { expiriesLimit, expiryPauseMs } from "@omniq/core";
import { claim, claimEarly, claimFound, covered, inTime, urgent } from "./claim-statements.ts";
import { coverable, groupsLock, settings, settingsLock, unknownState } from "./common-functions.ts";
import { reserveFewFunction } from "./reserve-few-function.ts";

export const leaseType = `CREATE TYPE {s}.lease AS ("position" integer, id text, name text, queue text, payload text, envelope text, priority smallint,
    max_attempts bigint, result_ttl bigint, run integer, attempt integer, expiries integer, enqueued_at bigint, run_at bigint,
    expires_at bigint, started_at bigint, cancelling boolean, dedup_key text, group_key text, group_limit bigint, progress text, error text,
    lane smallint, ready_at bigint, seq bigint, deadline bigint, edges text, place tid, many text)`;

/** One statement for all that is mostly not so: in a process that wakes for one task each statement costs more than what it does. */
const lookAtQueue = `SELECT (SELECT x FROM {s}.queues x WHERE x.name = q) AS settings,
        EXISTS (SELECT 1 FROM {s}.tasks WHERE queue = q AND state = 1 AND run_at <= v_now) AS due,
        EXISTS (SELECT 1 FROM {s}.tasks WHERE queue = q AND state = 2 AND lane = 1) AS early,
        EXISTS (SELECT 1 FROM {s}.tasks WHERE queue = q AND group_key IS NOT NULL AND state IN (1, 2, 3)) AS grouped,
        EXISTS (SELECT 1 FROM {s}.tasks WHERE queue = q AND ${unknownState}) AS damaged,
        (SELECT ROW(l.last_ready, l.last_seq)::{s}.place FROM {s}.leases l WHERE v_ready > 0 AND l.queue = q
         ORDER BY l.last_ready DESC, l.last_seq DESC LIMIT 1) AS place
      INTO one;`;

export const reserveFunctions: readonly string[] = [
  leaseType,
  "CREATE TYPE {s}.place AS (ready bigint, seq bigint)",

  // Makes due tasks ready. Those of groups are held back until their group is looked at, which needs the lock of the queue's groups.
  `CREATE FUNCTION {s}.promote(q text, v_now bigint, p_bound integer, p_grouped boolean) RETURNS integer LANGUAGE plpgsql AS $$
  #variable_conflict use_column
  DECLARE v_count integer;
  BEGIN
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
   * looked at from its true beginning when that and what others have claimed since give nothing. Without leases one row of position -1 says in \`deadline\` in how many
   * milliseconds something may be there; a row of position -3 names tasks that were set aside in \`payload\`, the queues to wake in \`envelope\`, as JSON. \`p_done\`: tokens of leases that have all been
   * settled. \`p_bytes\`: about how many bytes the leases may have in all, but for the first.
   */
  `CREATE FUNCTION {s}.reserve(p_queues text[], p_limit integer, p_lease_ms bigint, p_worker text, p_token text, p_upkeep boolean,
    p_after_ready bigint[], p_after_seq bigint[], p_done text[], p_bytes bigint) RETURNS SETOF {s}.lease LANGUAGE plpgsql ${settings} AS $$
  #variable_conflict use_column
  DECLARE
    c_bound CONSTANT integer := 1000;
    v_now bigint;
    v_left bigint := p_limit;
    v_bytes bigint := p_bytes;
    v_size bigint;
    v_some boolean := false;
    v_over boolean;
    v_full boolean := false;
    v_damaged text[];
    v_want bigint;
    v_asked bigint;
    v_before bigint;
    v_room bigint;
    v_count bigint;
    v_grouped text[] := '{}';
    v_look boolean;
    v_early boolean;
    v_again boolean;
    v_ready bigint;
    v_seq bigint;
    v_place {s}.place;
    v_next bigint;
    v_cover boolean;
    v_places tid[];
    v_seqs bigint[];
    v_apart tid[];
    v_taken bigint[];
    v_last_ready bigint;
    v_first_seq bigint;
    v_last_seq bigint;
    v_many text;
    -- See claim-statements.ts.
    v_cut text := chr(31) || right(p_token, 8);
    v_column text := chr(30) || right(p_token, 8);
    i integer;
    q text;
    s {s}.queues;
    one record;
    one_aside record;
    found_one {s}.tasks;
    r {s}.lease;
  BEGIN
    IF p_done IS NOT NULL THEN
      DELETE FROM {s}.leases WHERE (token, queue) IN (
        SELECT token, queue FROM {s}.leases WHERE token = ANY (p_done) FOR UPDATE SKIP LOCKED);
    END IF;
    -- Whoever changes a queue's settings waits for the claims that are under way, so that nothing is handed out after a pause. An expression
    -- costs less than a query.
    v_look := pg_advisory_xact_lock_shared(${settingsLock}) IS NULL;
    v_now := {s}.now_ms();
    IF cardinality(p_queues) = 1 THEN
      q := p_queues[1];
      v_ready := p_after_ready[1];
      ${lookAtQueue}
      v_look := (one.settings).max_active IS NOT NULL OR (one.settings).rate_limit IS NOT NULL OR one.grouped;
    ELSE
      v_look := true;
    END IF;
    IF v_look THEN
      SELECT EXISTS (SELECT 1 FROM {s}.queues WHERE name = ANY (p_queues) AND (max_active IS NOT NULL OR rate_limit IS NOT NULL)) AS limits,
        ARRAY(SELECT u FROM unnest(p_queues) u WHERE EXISTS
          (SELECT 1 FROM {s}.tasks WHERE queue = u AND group_key IS NOT NULL AND state IN (1, 2, 3))) AS grouped
      INTO one;
      v_grouped := one.grouped;
      IF one.limits THEN
        PERFORM 1 FROM {s}.queues WHERE name = ANY (p_queues) AND (max_active IS NOT NULL OR rate_limit IS NOT NULL) ORDER BY name FOR UPDATE;
      END IF;
      FOR one IN SELECT DISTINCT ${groupsLock("u")} AS lock FROM unnest(v_grouped) u ORDER BY 1 LOOP
        PERFORM pg_advisory_xact_lock(one.lock);
      END LOOP;
      v_now := {s}.now_ms();
    END IF;

    FOR i IN 1 .. cardinality(p_queues) LOOP
      EXIT WHEN v_left <= 0 OR v_full;
      q := p_queues[i];
      v_ready := p_after_ready[i];
      v_seq := p_after_seq[i];
      IF p_upkeep THEN PERFORM {s}.end_leases(q, v_now, c_bound); END IF;
      IF v_look THEN
        ${lookAtQueue}
      END IF;
      IF one.damaged THEN
        SELECT array_agg(x.id) INTO v_damaged FROM (SELECT id FROM {s}.tasks WHERE queue = q AND ${unknownState} LIMIT c_bound) x;
        FOR one_aside IN SELECT d.gone, d.wake FROM {s}.set_aside(v_damaged) d WHERE d.gone IS NOT NULL LOOP
          r := NULL;
          r."position" := -3;
          r.payload := to_json(one_aside.gone)::text;
          r.envelope := to_json(one_aside.wake)::text;
          RETURN NEXT r;
        END LOOP;
      END IF;
      s := one.settings;
      v_early := one.early;
      -- Other processes have claimed on: what is before the newest lease is theirs, or found from the beginning.
      v_place := one.place;
      IF (v_place.ready, v_place.seq) > (v_ready, v_seq) THEN
        v_ready := v_place.ready;
        v_seq := v_place.seq;
      END IF;
      IF one.due THEN
        IF {s}.promote(q, v_now, c_bound, q = ANY (v_grouped)) > 0 THEN
          v_ready := 0;
          v_early := true;
        END IF;
      END IF;
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
            ${claimFound}
            v_again := true;
            IF found_one.group_key IS NOT NULL AND NOT found_one.slot THEN
              EXIT WHEN {s}.refill(q, found_one.group_key);
            END IF;
          END LOOP;
          EXIT WHEN NOT v_again OR v_want <= 0;
        END LOOP;
      ELSIF v_want > 0 THEN
        LOOP
          IF v_early THEN
            ${claimEarly("t.priority >= 0")}
          END IF;
          v_before := v_want;
          IF v_want > 0 AND v_ready > 0 THEN
            ${claim("place")}
          END IF;
          IF v_want > 0 AND v_want = v_before THEN
            ${claim("beginning")}
          END IF;
          EXIT WHEN v_want <= 0 OR v_want < v_before OR NOT ${urgent};
          v_early := true;
        END LOOP;
        IF v_want > 0 AND v_early THEN
          ${claimEarly("t.priority < 0")}
        END IF;
      END IF;
      v_left := v_left - (v_asked - v_want);
      IF v_asked > v_want AND s.rate_limit IS NOT NULL THEN
        UPDATE {s}.queues SET rate_arrival = greatest(coalesce(rate_arrival, 0), v_now)
          + (v_asked - v_want) * (rate_window::double precision / rate_limit) WHERE name = q;
      END IF;
      IF NOT p_upkeep AND v_want = v_asked THEN
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
          AND (EXISTS (SELECT 1 FROM {s}.tasks t WHERE t.queue = u AND t.state = 2 AND t.lane = 0)
            OR EXISTS (SELECT 1 FROM {s}.tasks t WHERE t.queue = u AND t.state = 2 AND t.lane = 1)))
      ) x;
      IF v_next IS NOT NULL THEN
        r := NULL;
        r."position" := -1;
        r.deadline := v_next - {s}.now_ms();
        RETURN NEXT r;
      END IF;
    END IF;
  END $$`,
  reserveFewFunction,
];
