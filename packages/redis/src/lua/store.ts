// The part of the scripts that knows records: how a task is read, written, placed and found again.

/**
 * A record: state, 12 hex digits of the enqueue number, then fields that NUL divides, NUL NUL, and the opaque body. A plain task that nothing
 * has happened to yet has a short one: `p`, the number, the time in 11 hex digits, a reference of 6 characters to its kind, the payload;
 * `expand` makes the long one of it. States: `p` and `r` in the queue's list, `d` the same with dependents, `k` in the ranked set, `h` in its group, `s` scheduled, `b` blocked, `f` dead letter,
 * `c` cancelled, `e` expired, `R` over with its result, `G` gone but remembered. An active task keeps its record; its lease says the rest.
 */
export const store: string = String.raw`
local states, numeric = 'rdkhsbfce', { 'ea', 'ei', 'sa', 'ra', 'fa', 'xp', 'pe', 'dn', 'dw' }
-- Nil where it cannot be read.
function L.parse(id, rec)
  local stop = find(rec, '\0\0', 14, true)
  if not stop or not find(rec, '^%l%x%x%x%x%x%x%x%x%x%x%x%x') or not find(states, sub(rec, 1, 1), 1, true) then return nil end
  local name, queue, prio, max, ttl, rem, run, attempt, enq, at, rest =
    match(sub(rec, 14, stop - 1), '^([^%z]+)%z([^%z]+)%z(%-?%d+)%z(%d+)%z([%d-]+)%z(%d+)%z(%d+)%z(%d+)%z(%d+)%z([%d=]+)(.*)$')
  if not name or #prio > 5 or #max > 16 or #ttl > 16 or #rem > 16 or #run > 15 or #attempt > 15 or #enq > 15 or #at > 16 then return nil end
  if ttl ~= '-' and not tonumber(ttl) then return nil end
  local x = {}
  for key, value in gmatch(rest, '%z(..)([^%z]*)') do x[key] = value end
  for i = 1, #numeric do
    local value = x[numeric[i]]
    if value and not (#value < 17 and tonumber(value)) then return nil end
  end
  if x.gk and not (x.gl and #x.gl < 16 and tonumber(x.gl)) then return nil end
  if at == '=' then at = enq elseif not tonumber(at) then return nil end
  return { id = id, state = sub(rec, 1, 1), seq = sub(rec, 2, 13), name = name, queue = queue, prio = prio, max = max, ttl = ttl, rem = rem,
    run = tonumber(run), attempt = tonumber(attempt), enq = enq, at = at, x = x, body = sub(rec, stop + 2) }
end
function L.head(t)
  local parts = { t.state .. t.seq .. t.name, t.queue, t.prio, t.max, t.ttl, t.rem, S(t.run), S(t.attempt), t.enq, t.at == t.enq and '=' or t.at }
  for key, value in pairs(t.x) do parts[#parts + 1] = key .. value end
  return table.concat(parts, '\0')
end
function L.save(t) call('HSET', T, t.id, L.head(t) .. '\0\0' .. t.body) end
function L.member(t) return t.seq .. t.id end
-- What cannot be read is set aside first; the queue and the number say what is known of it.
function L.load(id, queue, seq)
  local rec = call('HGET', T, id)
  if not rec then return nil end
  local state = sub(rec, 1, 1)
  if state == 'R' or state == 'G' then return nil end
  local long = rec
  if state == 'p' then
    state = 'r'
    long = expand(rec)
  end
  local t = L.parse(id, long)
  if not t then return L.set_aside(id, rec, queue, seq) end
  if state == 'r' or state == 'd' or state == 'k' or state == 'h' then
    local lease = call('HGET', P .. 'l:' .. t.queue, id)
    if lease and not L.attach(t, lease) then
      -- Nobody can hold a lease that cannot be read.
      t.slot = t.x.gk ~= nil
      L.put_back(t, t.x.gl == '1')
    end
  end
  t.slot = t.x.gk and (t.state == 'a' or t.x.sl == '1')
  return t
end
-- False where it cannot be read.
function L.attach(t, lease)
  local token, deadline, attempt, started, cancelling, worker, progress =
    match(lease, '^.([^%z]*)%z(%d+)%z(%d+)%z(%d+)%z(%d)%z([^%z]*)%z([^%z]*)')
  if not token then return false end
  t.place, t.state = t.state, 'a'
  t.token, t.deadline, t.attempt, t.cancelling, t.worker = token, tonumber(deadline), tonumber(attempt), cancelling == '1', worker
  t.x.sa = started
  if progress ~= '-' then t.x.pr = progress end
  return true
end
-- Marks a task as one that others wait for, wherever it stands.
function L.expect(parent)
  local t = L.load(parent)
  if not t or t.x.df then return end
  if t.state == 'a' then
    local rec = expand(call('HGET', T, parent))
    local stop = find(rec, '\0\0', 14, true)
    call('HSET', T, parent, sub(rec, 1, stop - 1) .. '\0df1' .. sub(rec, stop))
    local lease = call('HGET', P .. 'l:' .. t.queue, parent)
    call('HSET', P .. 'l:' .. t.queue, parent, 'x' .. sub(lease, 2) .. '\0df1')
    return
  end
  t.x.df = '1'
  if t.state == 'r' then t.state = 'd' end
  L.save(t)
end
function L.waits(t) return t.state ~= 'a' and find('rdkhsb', t.state, 1, true) ~= nil end
function L.rank(t) return (1000 - tonumber(t.prio)) * 4398046511104 + tonumber(t.x.ra or t.at) end
function L.before(score, member, other, second)
  if score ~= other then return score < other end
  return tonumber(sub(member, 1, 12), 16) < tonumber(sub(second, 1, 12), 16)
end
function L.watch_expiry(t)
  if not t.x.ea or t.x.sa then return end
  call('ZADD', P .. 'e:' .. t.queue, t.x.ea, L.member(t))
  lower('t', t.queue, tonumber(t.x.ea))
end
-- Takes a task out of where it stands. A list is not searched: what is left in it is passed over, and counted.
function L.unplace(t)
  local q, member, state = t.queue, L.member(t), t.state
  if state == 'a' then call('HDEL', P .. 'l:' .. q, t.id)
  elseif state == 'r' or state == 'd' then
    local stale = add(Q, 's' .. q, 1)
    if stale == call('LLEN', P .. 'r:' .. q) then
      call('DEL', P .. 'r:' .. q)
      call('HDEL', Q, 's' .. q)
    end
  elseif state == 'k' then call('ZREM', P .. 'k:' .. q, member)
  elseif state == 'h' then L.unhold(t)
  elseif state == 's' then call('ZREM', P .. 'd:' .. q, member)
  elseif state == 'b' then call('ZREM', P .. 'b:' .. q, member)
  elseif state == 'f' then call('ZREM', P .. 'f:' .. q, member) end
  if t.x.ea and state ~= 'a' and not t.x.sa then call('ZREM', P .. 'e:' .. q, member) end
end
function L.ready(t)
  if t.x.ra == t.at then t.x.ra = nil end
  if t.x.gk and t.x.sl ~= '1' then
    t.state = 'h'
    L.hold(t.queue, t.x.gk, t.x.gl, L.rank(t), L.member(t))
  else
    t.state = 'k'
    call('ZADD', P .. 'k:' .. t.queue, S(L.rank(t)), L.member(t))
    mark(t.queue)
  end
end
-- Places by t.at, saves, and lets the group choose anew.
function L.place(t)
  local at = tonumber(t.at)
  if at > now then
    t.state = 's'
    call('ZADD', P .. 'd:' .. t.queue, t.at, L.member(t))
    lower('t', t.queue, at)
    mark(t.queue)
  else L.ready(t) end
  L.save(t)
  if t.state == 'h' then L.refill(t.queue, t.x.gk) end
end
`;

/** Groups: slots are counted, and at most one task of a group that needs a new slot stands in the ranked set. */
export const groups: string = String.raw`
function L.hold(queue, gk, gl, score, member)
  local G = queue .. '\0' .. gk
  call('ZADD', P .. 'h:' .. gl .. ':' .. G, S(score), member)
  call('ZADD', P .. 'hl:' .. G, gl, gl)
  call('ZADD', P .. 'ha:' .. queue, 0, member)
end
function L.unheld(queue, G, gl, member)
  local key = P .. 'h:' .. gl .. ':' .. G
  call('ZREM', key, member)
  if call('EXISTS', key) == 0 then call('ZREM', P .. 'hl:' .. G, gl) end
  call('ZREM', P .. 'ha:' .. queue, member)
end
function L.unhold(t)
  local G, member = t.queue .. '\0' .. t.x.gk, L.member(t)
  local candidate = call('HGET', P .. 'gc', G)
  if candidate and match(candidate, '^[^%z]+%z[^%z]+%z(.*)$') == member then
    call('HDEL', P .. 'gc', G)
    call('ZREM', P .. 'k:' .. t.queue, member)
  else L.unheld(t.queue, G, t.x.gl, member) end
end
-- Puts the group's best task that may start into the ranked set, and takes out what may not or is not the best.
function L.refill(queue, gk)
  local G = queue .. '\0' .. gk
  local slots = tonumber(call('HGET', P .. 'g', G) or '0') or 0
  local candidate = call('HGET', P .. 'gc', G)
  local cs, cl, cm
  if candidate then
    cs, cl, cm = match(candidate, '^(%-?%d+)%z(%d+)%z(%x%x%x%x%x%x%x%x%x%x%x%x.+)$')
    cs = tonumber(cs)
    -- Whom it named stands among the ranked ones and is given from there.
    if not cs or #cl > 15 then
      call('HDEL', P .. 'gc', G)
      candidate = nil
    end
  end
  local bs, bl, bm
  for _, limit in ipairs(call('ZRANGEBYSCORE', P .. 'hl:' .. G, '(' .. S(slots), '+inf')) do
    local first = call('ZRANGE', P .. 'h:' .. limit .. ':' .. G, 0, 0, 'WITHSCORES')
    if first[1] and (not bs or L.before(tonumber(first[2]), first[1], bs, bm)) then
      bs, bl, bm = tonumber(first[2]), limit, first[1]
    end
  end
  if candidate and tonumber(cl) > slots and (not bs or L.before(cs, cm, bs, bm)) then return false end
  if candidate then
    call('ZREM', P .. 'k:' .. queue, cm)
    call('HDEL', P .. 'gc', G)
    L.hold(queue, gk, cl, cs, cm)
  end
  if not bs then return false end
  L.unheld(queue, G, bl, bm)
  call('ZADD', P .. 'k:' .. queue, S(bs), bm)
  call('HSET', P .. 'gc', G, S(bs) .. '\0' .. bl .. '\0' .. bm)
  mark(queue)
  return true
end
function L.leave_group(t, had)
  if not t.x.gk then return end
  if had then
    local G = t.queue .. '\0' .. t.x.gk
    if add(P .. 'g', G, -1) <= 0 then call('HDEL', P .. 'g', G) end
  end
  L.refill(t.queue, t.x.gk)
end
`;
