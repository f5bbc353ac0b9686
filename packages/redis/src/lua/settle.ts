// The parts of scripts that end leases (settle) and push their deadlines out (extend).

/** ARGV from `a` on as `writeSettlements` says. Answers a digit for each: 1 settled, 0 lost; and where the next argument is. */
export const settle: string = String.raw`
-- What settling the tasks of a kind needs, made once for each script.
local function ending_of(reference)
  local k = kind(reference)
  if k and not k.before then
    local named, ttl, rem = match(k.head, '^([^%z]+%z[^%z]+)%z[^%z]+%z[^%z]+%z([^%z]+)%z([^%z]+)%z')
    local till = now + tonumber(rem)
    local expires = ttl == '-' and '-' or S(now + tonumber(ttl))
    k.keeps = ttl ~= '0'
    k.before = '1\0001\0' .. named .. '\0'
    k.after = '\0' .. NOW .. '\0' .. expires .. '\0' .. S(till) .. '\0'
    k.results = expires == '-' and 'inf' or S(floor(tonumber(expires) / 60000))
    k.till = till
  end
  return k
end
local function settle(a)
  local n = tonumber(ARGV[a])
  local ids, tokens, ops = split(ARGV[a + 1]), split(ARGV[a + 2]), ARGV[a + 3]
  local queues, extras = split(ARGV[a + 4]), split(ARGV[a + 5])
  local counts = ARGV[a + 6] ~= '' and split(ARGV[a + 6])
  local bodies
  bodies, a = texts(a + 7)
  local event_at, by_queue, order, states = {}, {}, {}, {}
  local one_queue, one_extra = #queues == 1 and queues[1], #extras == 1 and extras[1]
  if counts then
    for i = 1, n do
      event_at[i] = a
      a = a + counts[i] * 4
    end
  end
  -- Numbers in the order in which results are appended to their bucket, the slow ones after the others: pages go on after a number.
  local number = advance(n)
  local leases, done, over, buckets, removed, told, events = {}, {}, {}, {}, {}, {}, {}
  if one_queue then
    order[1] = one_queue
    leases = call('HMGET', P .. 'l:' .. one_queue, unpack(ids))
  else
    for i = 1, n do
      local list = by_queue[queues[i]]
      if not list then
        list = { ids = {}, at = {} }
        by_queue[queues[i]] = list
        order[#order + 1] = queues[i]
      end
      list.ids[#list.ids + 1] = ids[i]
      list.at[#list.at + 1] = i
    end
    for _, queue in ipairs(order) do
      local list = by_queue[queue]
      local found = call('HMGET', P .. 'l:' .. queue, unpack(list.ids))
      for k, i in ipairs(list.at) do leases[i] = found[k] end
    end
  end
  local others
  if n > 0 and call('EXISTS', P .. 'r') == 1 then others = call('HMGET', P .. 'r', unpack(ids)) end
  local function take_events(i)
    local at = event_at[i]
    for e = 1, counts and counts[i] or 0 do
      events[#events + 1] = { ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] }
      at = at + 4
    end
  end
  local function put_in(name, element)
    local bin = buckets[name]
    if not bin then
      bin = {}
      buckets[name] = bin
    end
    bin[#bin + 1] = element
  end
  local slow = {}
  for i = 1, n do
    local id, token, lease, op = ids[i], tokens[i], leases[i], sub(ops, i, i)
    local letter = lease and not done[id] and (op == 'c' or op == 'x') and sub(lease, 1, 1)
    local way, keeps, till, bin, before, after, run
    if letter == 'q' then
      if sub(lease, 2, #token + 2) == token .. '\0' then
        local k = ending_of(sub(lease, -6))
        if k then way, keeps, till, bin, before, after, run = 'fast', k.keeps, k.till, k.results, k.before, k.after, 1 end
      end
    elseif letter == 'p' then
      local current, attempt, named, ttl, rem, own =
        match(lease, '^.([^%z]*)%z%d+%z(%d+)%z%d+%z%d%z[^%z]*%z[^%z]*%z%z.............([^%z]+%z[^%z]+)%z[^%z]+%z[^%z]+%z([^%z]+)%z([^%z]+)%z([^%z]+)')
      if current == token and tonumber(rem) and tonumber(own) and (ttl == '-' or tonumber(ttl)) then
        local expires = ttl == '-' and '-' or S(now + tonumber(ttl))
        way, keeps, till, run = 'fast', ttl ~= '0', now + tonumber(rem), tonumber(own)
        bin = expires == '-' and 'inf' or S(floor(tonumber(expires) / 60000))
        before = own .. '\0' .. attempt .. '\0' .. named .. '\0'
        after = '\0' .. NOW .. '\0' .. expires .. '\0' .. S(till) .. '\0'
      end
    end
    if way then
      done[id] = true
      states[i] = 1
      local queue = one_queue or queues[i]
      local list = removed[queue]
      if not list then
        list = {}
        removed[queue] = list
      end
      list[#list + 1] = id
      local other = others and others[i]
      local stands = other and not result_expired(other) and run_of(other) >= run
      local at = #over
      over[at + 1] = id
      if keeps and not stands and (one_extra or extras[i]) == '1' then
        local seq12 = format('%012x', number)
        number = number + 1
        over[at + 2] = 'R' .. seq12 .. before .. op .. after .. token .. '\0\0' .. bodies[i]
        put_in(bin, 'r' .. seq12 .. id)
        told[#told + 1] = id
      else
        over[at + 2] = 'G' .. S(till) .. '\0' .. token .. '\0' .. op .. '\0' .. NOW
        put_in(S(floor(math.max(till, now + 600000) / 60000)), 'g' .. id)
      end
      if counts then take_events(i) end
    else slow[#slow + 1] = i end
  end
  for queue, list in pairs(removed) do call('HDEL', P .. 'l:' .. queue, unpack(list)) end
  if #over > 0 then call('HSET', T, unpack(over)) end
  for name, bin in pairs(buckets) do
    if call('RPUSH', P .. 'x:' .. name, unpack(bin)) == #bin and name ~= 'inf' then call('ZADD', P .. 'xs', name, name) end
  end
  if #slow > 0 then
    local L = library()
    for _, i in ipairs(slow) do
      local stored
      states[i], stored = L.settle(ids[i], one_queue or queues[i], tokens[i], sub(ops, i, i), one_extra or extras[i], bodies[i], number)
      number = number + 1
      if states[i] == 2 then
        states[i] = 1
        if counts then take_events(i) end
      end
      if stored then told[#told + 1] = ids[i] end
    end
  end
  notify(told, over)
  append(events)
  -- Where a queue's limit kept tasks back, a settlement lets them start, in any process.
  for _, queue in ipairs(order) do
    local line = call('HGET', Q, 'm' .. queue)
    if line and sub(line, 3, 4) ~= '-,' then mark(queue) end
  end
  return table.concat(states), a
end
`;

/** One settlement of any kind: 0 lost, 1 settled before, 2 settled now; and whether a result was stored. */
export const settleSlow: string = String.raw`
function L.put_back(t, keep)
  local had = t.slot
  call('HDEL', P .. 'l:' .. t.queue, t.id)
  t.state, t.slot = 'gone', false
  t.x.sl = keep and had and '1' or nil
  if had and not keep then
    local G = t.queue .. '\0' .. t.x.gk
    if add(P .. 'g', G, -1) <= 0 then call('HDEL', P .. 'g', G) end
  end
  L.place(t)
  if had and not keep and t.state ~= 'h' then L.refill(t.queue, t.x.gk) end
  mark(t.queue)
end
-- Whole milliseconds, or nil.
local function delay_of(text)
  local n = tonumber(text)
  if not n or n ~= n then return nil end
  return math.min(math.max(math.ceil(n), 0), 4398046511104)
end
function L.settle(id, queue, token, op, extra, text, number)
  local t = L.load(id, queue)
  if not t or t.state ~= 'a' or t.token ~= token or t.queue ~= queue then
    return L.was_settled(token, id, op) and 1 or 0, false
  end
  if op == 't' then
    L.settled(token, id, op)
    local at = now + (delay_of(extra) or 0)
    if t.cancelling then L.decide(t, 'c', text)
    elseif t.attempt >= tonumber(t.max) then L.decide(t, 'f', text)
    else
      t.x.er, t.x.ra, t.at = text, nil, S(at)
      L.put_back(t, t.x.gl == '1')
    end
    return 2, false
  elseif op == 'l' then
    L.settled(token, id, op)
    t.attempt = t.attempt - 1
    if t.cancelling then L.decide(t, 'c')
    else
      if t.attempt == 0 and not t.x.xp then t.x.sa = nil end
      local delay = delay_of(extra)
      if delay then t.x.ra, t.at = nil, S(now + delay) end
      L.put_back(t, delay and t.x.gl == '1')
      L.watch_expiry(t)
    end
    return 2, false
  end
  local stored = false
  if extra == '1' and t.ttl ~= '0' then
    local fields = S(t.run) .. '\0' .. S(t.attempt) .. '\0' .. t.name .. '\0' .. t.queue .. '\0' .. op
    local _, new = put_result(id, t.run, fields, NOW, t.ttl, text, number)
    stored = new
  end
  if op == 'f' then
    local had = t.slot
    L.settled(token, id, op)
    call('HDEL', P .. 'l:' .. t.queue, id)
    t.state, t.slot, t.x.sl, t.x.fa = 'f', false, nil, NOW
    local kind = sub(text, 1, 1)
    t.x.er = nil
    if kind == 'e' then t.x.er = L.quote(sub(text, 2)) elseif kind == 'b' then t.x.er = L.quote(cjson.decode(sub(text, 2))[2]) end
    if t.cancelling then t.x.ca = '1' end
    L.save(t)
    call('ZADD', P .. 'f:' .. t.queue, NOW, L.member(t))
    L.release_key(t)
    L.leave_group(t, had)
  else L.leave(t, token, op) end
  L.tell(id, L.ending(t, op, NOW, text))
  return 2, stored
end
`;

/** ARGV: lease in ms, how many, then for each id, queue, token, progress or `-`. Answers 0 lost, 1 held, 2 cancelling, and the deadline. */
export const extend: string = String.raw`
begin()
advance(0)
local deadline = S(now + math.ceil(tonumber(ARGV[1])))
local replies, a, queues = {}, 3, {}
for i = 1, tonumber(ARGV[2]) do
  local id, queue, token, progress = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3]
  local lease = call('HGET', P .. 'l:' .. queue, id)
  local kind, known, rest
  if lease then kind, known, rest = match(lease, '^(.)([^%z]*)%z%d+(%z%d+%z%d+%z%d%z[^%z]*%z[^%z]*%z%z.*)$') end
  if not lease or known ~= token then replies[i] = 0
  else
    if progress ~= '-' then
      local before, after = match(rest, '^(%z%d+%z%d+%z%d%z[^%z]*%z)[^%z]*(%z%z.*)$')
      rest = before .. progress .. after
    end
    call('HSET', P .. 'l:' .. queue, id, kind .. token .. '\0' .. deadline .. rest)
    queues[queue] = true
    replies[i] = match(rest, '^%z%d+%z%d+%z(%d)') == '1' and 2 or 1
  end
  a = a + 4
end
for queue in pairs(queues) do lower('l', queue, tonumber(deadline)) end
return { deadline, replies }
`;
