// The statements that claim tasks inside the function `reserve`: what is looked at, locked, leased and given.

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

export const inTime = "(t.expires_at IS NULL OR t.started_at IS NOT NULL OR t.expires_at > v_now)";
export const startOf = `state = 4, apart = true, attempt = t.attempt + 1, token = p_token, deadline = v_now + p_lease_ms, worker = p_worker,
        started_at = coalesce(t.started_at, v_now)`;
export const ownLease: string = leaseColumns("t.attempt", "t.started_at");

/** Tasks that rows of `leases` cover, of those at or after a place; a set that is made once for a statement. */
export const covered = (beyond: string): string =>
  `SELECT u FROM {s}.leases l, unnest(l.seqs) u WHERE l.queue = q${beyond}`;

/** Claims up to `v_want` tasks of lane 1 at once. The row found is locked, so its place in the table does not change before the update. */
export const claimEarly = (which: string): string => `RETURN QUERY UPDATE {s}.tasks t SET ${startOf}
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
export const claim = (from: "place" | "beginning"): string => {
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
