// The statements that claim tasks inside the function `reserve`: what is looked at, locked, leased and given.

/** Bytes of the longest payload that is given in one text with others. */
const longestInMany = 16_384;

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
      NULLIF(t.lane, 0::smallint), NULLIF(t.ready_at, t.run_at), t.seq, v_now + p_lease_ms, ${edgesOfTask}, t.ctid, NULL::text`;

/** What a task `t` counts for against the bytes that a claim may give: its payload and what it depended on gave. */
const bytesOf = `octet_length(t.payload) + CASE WHEN t.edges = 0 THEN 0
                ELSE (SELECT coalesce(sum(octet_length(d.value)), 0) FROM {s}.dependencies d WHERE d.child = t.id) END`;

export const inTime = "(t.expires_at IS NULL OR t.started_at IS NOT NULL OR t.expires_at > v_now)";
export const startOf = `state = 4, apart = true, attempt = t.attempt + 1, token = p_token, deadline = v_now + p_lease_ms, worker = p_worker,
        started_at = coalesce(t.started_at, v_now)`;
export const ownLease: string = leaseColumns("t.attempt", "t.started_at");

/**
 * What a row of `leases` may cover: a task as most are, of which the columns of {@link many} say all that there is to say. A long payload has
 * a row of its own, so that the text of many tasks stays short.
 */
export const plain: string = `NOT t.apart AND t.dedup_key IS NULL AND t.edges = 0 AND t.expires_at IS NULL AND t.run = 1 AND t.attempt = 0
                AND t.expiries = 0 AND t.started_at IS NULL AND t.error IS NULL AND t.progress IS NULL AND NOT t.cancelling
                AND octet_length(t.payload) <= ${longestInMany}`;
export const columnsOfMany =
  "t.id, t.name, t.payload, t.envelope, t.max_attempts, t.result_ttl, t.run_at, t.enqueued_at";

/**
 * Many plain tasks `c` as one text, column by column: a row a task costs server and client more than all else about it. The separators end in a
 * part of the claim's token, which nobody could know when the tasks were enqueued. A column of one value throughout has it once.
 */
const many = (filter = ""): string => {
  const texts = (column: string): string => `string_agg(c.${column}, v_cut)${filter}`;
  const numbers = (column: string): string => `array_to_string(array_agg(${column})${filter}, ',')`;
  const once = (column: string, all: string): string =>
    `CASE WHEN min(${column})${filter} = max(${column})${filter} THEN min(${column})${filter}::text ELSE ${all} END`;
  return `concat_ws(v_column, ${texts("id")}, ${texts("payload")}, array_to_string(array_agg(c.place)${filter}, v_cut), ${numbers("c.seq")},
                ${once("c.name", texts("name"))}, ${once("c.envelope", texts("envelope"))}, ${[
                  "c.max_attempts",
                  "coalesce(c.result_ttl, -1)",
                  "c.run_at",
                  "c.enqueued_at",
                  "c.ready_at",
                ]
                  .map((column) => once(column, numbers(column)))
                  .join(",\n                ")})`;
};

/** Tasks that rows of `leases` cover, of those at or after a place; a set that is made once for a statement. */
export const covered = (beyond: string): string =>
  `SELECT u FROM {s}.leases l, unnest(l.seqs) u WHERE l.queue = q${beyond}`;

/**
 * Whether something urgent waits that nobody else is about to take. A claim of lane 0 asks this in its own statement: with a snapshot for each, it
 * could see of a set that was stored meanwhile what is not urgent, and not the rest.
 */
export const urgent: string = `EXISTS (SELECT 1 FROM {s}.tasks t WHERE t.queue = q AND t.state = 2 AND t.lane = 1 AND t.priority >= 0 AND ${inTime}
                LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)`;

/** Once the bytes are used up the claim is over: what it wanted more is not asked for. */
const isFull = `v_full := true;
            v_asked := v_asked - v_want;
            v_want := 0;`;
/** Gives the tasks of `v_apart`, which this transaction has locked, so that their places do not change before the update. */
const leaseApart = `RETURN QUERY UPDATE {s}.tasks t SET ${startOf} FROM unnest(v_apart) AS c(place) WHERE t.ctid = c.place RETURNING i, ${ownLease};
          v_want := v_want - cardinality(v_apart);`;

/** Claims up to `v_want` tasks of lane 1 at once. */
export const claimEarly = (
  which: string,
): string => `SELECT array_agg(x.place) FILTER (WHERE x.fits), sum(x.bytes) FILTER (WHERE x.fits), count(*)
          INTO v_apart, v_size, v_count FROM (
            SELECT c.place, c.bytes, sum(c.bytes) OVER w <= v_bytes OR NOT v_some AND row_number() OVER w = 1 AS fits FROM (
              SELECT t.ctid AS place, t.priority, t.ready_at, t.seq, ${bytesOf} AS bytes FROM {s}.tasks t
              WHERE t.queue = q AND t.state = 2 AND t.lane = 1 AND ${which} AND ${inTime}
              ORDER BY t.priority DESC, t.ready_at, t.seq LIMIT v_want FOR NO KEY UPDATE SKIP LOCKED) c
            WINDOW w AS (ORDER BY c.priority DESC, c.ready_at, c.seq)) x;
          IF v_apart IS NOT NULL THEN
            ${leaseApart}
            v_bytes := v_bytes - v_size;
            v_some := true;
          END IF;
          IF v_count > coalesce(cardinality(v_apart), 0) THEN
            ${isFull}
          END IF;`;

/** Of a group: the task that was found, or the end of the claim. */
export const claimFound: string = `SELECT ${bytesOf} INTO v_size FROM {s}.tasks t WHERE t.id = found_one.id;
            IF v_some AND v_size > v_bytes THEN
              ${isFull}
              EXIT;
            END IF;
            v_bytes := v_bytes - v_size;
            v_some := true;
            RETURN QUERY UPDATE {s}.tasks t SET ${startOf}, slot = (t.group_key IS NOT NULL) WHERE t.id = found_one.id RETURNING i, ${ownLease};
            v_want := v_want - 1;`;

/**
 * Claims up to `v_want` tasks of lane 0, from a place on or from the beginning. The rows are locked first. Another claim may have taken some
 * of them after this one began to look and before it had the lock; a second look, which begins after all locks are there, sees its
 * leases. What is plain is covered by one row of `leases`, not written, and given as one text; the rest has a lease of its own. Where all have more
 * bytes than the claim may give, what comes first is taken and the rest let go.
 */
export const claim = (from: "place" | "beginning"): string => {
  const [after, beyond] =
    from === "place"
      ? [" AND (t.ready_at, t.seq) > (v_ready, v_seq)", " AND (l.last_ready, l.last_seq) > (v_ready, v_seq)"]
      : ["", ""];
  const filter = " FILTER (WHERE c.plain)";
  return `LOOP
            SELECT array_agg(c.place)${filter}, array_agg(c.seq)${filter}, array_agg(c.place) FILTER (WHERE NOT c.plain),
              max(c.ready_at), min(c.seq), max(c.seq), sum(c.bytes), ${many(filter)}
            INTO v_places, v_seqs, v_apart, v_last_ready, v_first_seq, v_last_seq, v_size, v_many FROM (
              SELECT t.ctid AS place, t.seq, t.ready_at, ${columnsOfMany}, v_cover AND ${plain} AS plain, ${bytesOf} AS bytes
              FROM {s}.tasks t WHERE t.queue = q AND t.state = 2 AND t.lane = 0${after} AND ${inTime} AND t.seq NOT IN (${covered(beyond)})
                AND NOT ${urgent}
              ORDER BY t.ready_at, t.seq LIMIT v_want FOR NO KEY UPDATE SKIP LOCKED) c;
            v_again := false;
            v_over := v_size > v_bytes;
            IF v_over THEN
              SELECT array_agg(c.place)${filter}, array_agg(c.seq)${filter}, array_agg(c.place) FILTER (WHERE NOT c.plain),
                max(c.ready_at), min(c.seq), max(c.seq), sum(c.bytes), ${many(filter)}
              INTO v_places, v_seqs, v_apart, v_last_ready, v_first_seq, v_last_seq, v_size, v_many FROM (
                SELECT x.*, sum(x.bytes) OVER w <= v_bytes OR NOT v_some AND row_number() OVER w = 1 AS fits FROM (
                  SELECT t.ctid AS place, t.seq, t.ready_at, ${columnsOfMany}, v_cover AND ${plain} AS plain, ${bytesOf} AS bytes
                  FROM unnest(v_places || v_apart) AS u(place), {s}.tasks t WHERE t.ctid = u.place) x
                WINDOW w AS (ORDER BY x.ready_at, x.seq) ORDER BY x.ready_at, x.seq) c WHERE c.fits;
            END IF;
            IF v_seqs IS NOT NULL THEN
              IF EXISTS (SELECT 1 FROM {s}.leases l WHERE l.queue = q${beyond}) THEN
                SELECT array_agg(u) INTO v_taken FROM {s}.leases l, unnest(l.seqs) u
                WHERE l.queue = q${beyond} AND (u IN (SELECT unnest(v_seqs))) IS TRUE;
                IF v_taken IS NOT NULL THEN
                  v_again := true;
                  SELECT array_agg(c.seq), ${many()} INTO v_seqs, v_many FROM (
                    SELECT x.place, x.seq, t.ready_at, ${columnsOfMany} FROM unnest(v_places, v_seqs) AS x(place, seq), {s}.tasks t
                    WHERE t.ctid = x.place AND (x.seq NOT IN (SELECT unnest(v_taken))) ORDER BY t.ready_at, x.seq) c;
                END IF;
              END IF;
              IF v_seqs IS NOT NULL THEN
                r := NULL;
                r."position" := i;
                r.deadline := v_now + p_lease_ms;
                r.many := v_many;
                RETURN NEXT r;
                INSERT INTO {s}.leases (token, queue, worker, leased_at, deadline, first_seq, last_seq, last_ready, seqs)
                VALUES (p_token, q, p_worker, v_now, v_now + p_lease_ms, v_first_seq, v_last_seq, v_last_ready, v_seqs)
                ON CONFLICT (token, queue) DO UPDATE SET first_seq = least(leases.first_seq, excluded.first_seq),
                  last_seq = greatest(leases.last_seq, excluded.last_seq), last_ready = greatest(leases.last_ready, excluded.last_ready),
                  seqs = leases.seqs || excluded.seqs;
                v_want := v_want - cardinality(v_seqs);
              END IF;
            END IF;
            IF v_apart IS NOT NULL THEN
              ${leaseApart}
            END IF;
            IF v_seqs IS NOT NULL OR v_apart IS NOT NULL THEN
              v_some := true;
              v_bytes := v_bytes - v_size;
            END IF;
            IF v_over AND (v_some OR NOT v_again) THEN
              ${isFull}
            END IF;
            EXIT WHEN NOT v_again OR v_want <= 0;
          END LOOP;`;
};
