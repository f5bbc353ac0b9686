// The script of `enqueue`: a plain batch goes the short way; whatever has options is checked whole before the first write.

/** What the one plain task reads beside the clock: whether its kind is there. */
export const knownKind = ", ARGV[1] == '1' and ARGV[3] or ''";

/**
 * ARGV as `writeOne` says: one plain task of a kind that is known. Answers `@` and the name of the inbox, or 1 where there is none; `kinds`; or
 * `known` where the id is not new: then nothing is stored, and the other way decides. It comes before all that the others need.
 */
export const enqueueOne: string = String.raw`
if ARGV[1] == '1' then
  local id, reference, queue = ARGV[2], ARGV[3], ARGV[4]
  if not meta[7] then return 'kinds' end
  local number = format('%012x', advance(1))
  if call('HSETNX', T, id, 'p' .. number .. format('%011x', now) .. reference .. ARGV[5]) == 0 then return 'known' end
  large(#ARGV[5])
  -- The queue's settings are there since its kind is.
  if call('RPUSH', P .. 'r:' .. queue, number .. id) == 1 then mark(queue) end
  return inbox and '@' .. meta[3] or 1
end
`;

/**
 * ARGV as `writePlain` says. Answers the number of tasks when all are new, else a digit for each (1 enqueued, 0 duplicate), or `kinds` when a
 * kind is not there: then nothing is stored.
 */
export const enqueueFast: string = String.raw`
local total, ids, runs = tonumber(ARGV[2]), split(ARGV[3]), tonumber(ARGV[4])
for n = 1, runs do
  local reference = ARGV[n * 5]
  if reference ~= '' and call('HEXISTS', P .. 'v', reference) == 0 then return 'kinds' end
end
local bodies = texts(5 + runs * 5)
local stored = call('HMGET', T, unpack(ids))
local first = advance(total) - 1
local pairs_, lists, order, seen, i, new = {}, {}, {}, {}, 0, 0
local replies
for n = 1, runs do
  local a = n * 5
  local reference, queue = ARGV[a], ARGV[a + 1]
  local state, middle
  if reference ~= '' then state, middle = 'p', format('%011x', now) .. reference
  else state, middle = 'r', ARGV[a + 2] .. '\0' .. NOW .. '\0=\0\0' .. ARGV[a + 3] end
  local list = lists[queue]
  if not list then
    list = {}
    lists[queue] = list
    order[#order + 1] = queue
  end
  local k = #list
  for _ = 1, tonumber(ARGV[a + 4]) do
    i = i + 1
    local id, rec = ids[i], stored[i]
    if seen[id] or (rec and known(rec)) then
      replies = replies or {}
      replies[i] = 0
    else
      if rec then evict(id, rec) end
      seen[id] = true
      local number = format('%012x', first + i)
      pairs_[new + 1] = id
      pairs_[new + 2] = state .. number .. middle .. bodies[i]
      large(#bodies[i])
      new = new + 2
      k = k + 1
      list[k] = number .. id
    end
  end
end
if new > 0 then
  call('HSET', T, unpack(pairs_))
  for _, queue in ipairs(order) do
    local list = lists[queue]
    if #list > 0 and call('RPUSH', P .. 'r:' .. queue, unpack(list)) == #list then
      call('HSETNX', Q, 'm' .. queue, '0,-,-,-,-,-')
      mark(queue)
    end
  end
end
if not replies then return total end
for n = 1, total do replies[n] = replies[n] or 1 end
return table.concat(replies)
`;

/** The last arguments are the kinds that tasks refer to, and their number: unless all are there, nothing is stored. */
export const kindsKnown: string = String.raw`
local refers = tonumber(ARGV[#ARGV])
for i = 1, refers do
  if call('HEXISTS', P .. 'v', ARGV[#ARGV - i]) == 0 then return 'kinds' end
end
`;

/** What both ways need: whether an id is known, and what becomes of the trace of an earlier task of the same id. */
export const knownIds: string = String.raw`
local function known(rec)
  local state = sub(rec, 1, 1)
  -- What cannot be read counts as known, until it is swept.
  if state == 'R' then
    return (tonumber(match(rec, '^.............[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z.%z%d+%z[^%z]+%z(%d+)') or nil) or now + 1) > now
  elseif state == 'G' then return (tonumber(match(rec, '^G(%d+)') or nil) or now + 1) > now end
  return true
end
local function evict(id, rec)
  local status, finished, token
  if sub(rec, 1, 1) == 'R' then
    local expires
    status, finished, expires, token = match(rec, '^.............[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z(.)%z(%d+)%z([^%z]+)%z%d+%z([^%z]+)')
    if expires and (expires == '-' or (tonumber(expires) or 0) > now) then call('HSET', P .. 'r', id, rec) end
  else token, status, finished = match(rec, '^G%d+%z([^%z]+)%z(.)%z(%d+)') end
  if not token then return end
  local till = tonumber(finished) + 600000
  if token ~= '-' and till > now then
    call('HSET', P .. 's', token, status .. S(till) .. '\0' .. id)
    bucket(till, 's' .. token)
  end
end
`;

/** ARGV as `writeAny` says. Answers, for each task of each call, 1, 0 or text (letter and holder); for a call with unknown dependencies their list. */
export const enqueueSlow: string = String.raw`
local a, firsts = 4, nil
local function read_options(text)
  local o = {}
  for key, value in gmatch(text, '(..)([^%z]*)%z') do o[key] = value end
  return o
end
local function read_call()
  local c = { tasks = {}, events = {}, depends = false }
  local n, m = tonumber(ARGV[a]), tonumber(ARGV[a + 1])
  a = a + 2
  for i = 1, n do
    local task = { id = ARGV[a], queue = ARGV[a + 1], head = ARGV[a + 2], body = ARGV[a + 3], o = read_options(ARGV[a + 4]), deps = {} }
    a = a + 5
    for d = 1, tonumber(task.o.dn or '0') do
      task.deps[d] = { id = ARGV[a], fails = ARGV[a + 1], outcome = ARGV[a + 2] }
      a = a + 3
    end
    if #task.deps > 0 then c.depends = true end
    c.tasks[i] = task
  end
  for i = 1, m do
    c.events[i] = { ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3] }
    a = a + 4
  end
  return c
end
-- What would become of the call's tasks, without a write: what it does not know of what they depend on.
local function unknown_of(c)
  local fresh, keys, names, wanted = {}, {}, {}, {}
  for _, task in ipairs(c.tasks) do
    local rec = call('HGET', T, task.id)
    local answer = task.id
    local stores = not (fresh[task.id] or (rec and known(rec)))
    if stores and task.o.dk then
      local field = task.queue .. '\0' .. task.o.dk
      local holder = keys[field] or L.holder(task.queue, task.o.dk)
      if holder then
        local waits = fresh[holder] or false
        if not waits and task.o.dm ~= 'k' then
          local t = L.load(holder)
          waits = t and L.waits(t)
        end
        if task.o.dm ~= 'r' or waits then
          stores = false
          answer = holder
        end
      end
      if stores then keys[field] = task.id end
    end
    if stores then
      fresh[task.id] = true
      wanted[#wanted + 1] = task
    end
    task.answer = answer
  end
  for _, task in ipairs(c.tasks) do names[task.id] = task.answer end
  local unknown, told = {}, {}
  for _, task in ipairs(wanted) do
    for _, d in ipairs(task.deps) do
      if d.outcome == '' then
        local parent = names[d.id] or d.id
        if not fresh[parent] and not L.load(parent) and not told[d.id] then
          told[d.id] = true
          unknown[#unknown + 1] = d.id
        end
      end
    end
  end
  return unknown
end
local function times_of(o)
  local at = now
  if o.ra then at = math.max(tonumber(o.ra), now) elseif o.de then at = now + tonumber(o.de) end
  local expires = o.ea
  if not expires and o.ei then expires = S(at + tonumber(o.ei)) end
  return S(at), expires
end
local function place_again(t, at)
  L.unplace(t)
  t.at, t.x.ra = at, nil
  if t.state == 'b' then
    call('ZADD', P .. 'b:' .. t.queue, tonumber(t.seq, 16), L.member(t))
    L.save(t)
  else
    local grouped = t.x.gk and not t.slot
    L.place(t)
    if grouped and t.state ~= 'h' then L.refill(t.queue, t.x.gk) end
  end
  L.watch_expiry(t)
  mark(t.queue)
end
-- The answer where the key is held and the task is not stored; nil where it is.
local function deduplicated(task)
  local o = task.o
  if not o.dk then return nil end
  local id = L.holder(task.queue, o.dk)
  if not id then return nil end
  if o.dm == 'k' then return 'k' .. id, id end
  local t = L.load(id)
  if not t or not L.waits(t) then
    if o.dm == 'r' then return nil end
    return 'k' .. id, id
  end
  local at, expires = times_of(o)
  if t.x.ea and not t.x.sa then call('ZREM', P .. 'e:' .. t.queue, L.member(t)) end
  if o.dm == 'r' then
    large(#task.body)
    local fresh = L.parse(id, 'r000000000000' .. task.head .. '\0' .. NOW .. '\0=\0\0' .. task.body)
    L.unplace(t)
    if t.state ~= 'b' then t.state = 'gone' end
    t.body, t.prio, t.max, t.ttl = task.body, fresh.prio, fresh.max, fresh.ttl
    t.x.ea, t.x.ei = expires, o.ei
    -- The new input has its full attempts.
    t.attempt, t.x.xp, t.x.er, t.x.pr, t.x.sa = 0, nil, nil, nil, nil
  elseif t.x.ei then
    L.unplace(t)
    if t.state ~= 'b' then t.state = 'gone' end
    t.x.ea = S(tonumber(at) + tonumber(t.x.ei))
  end
  t.x.dw = o.dw
  place_again(t, at)
  L.take_key(task.queue, o.dk, id, o.dw)
  return (o.dm == 'r' and 'r' or 'x') .. id, id
end
local function insert(task, number)
  local o = task.o
  local at, expires = times_of(o)
  large(#task.body)
  local t = L.parse(task.id, 'r' .. format('%012x', number) .. task.head .. '\0' .. NOW .. '\0=\0\0' .. task.body)
  t.at = at
  t.x = { ea = expires, ei = o.ei, dk = o.dk, dw = o.dw, gk = o.gk, gl = o.gl, dn = o.dn }
  call('HSETNX', Q, 'm' .. task.queue, '0,-,-,-,-,-')
  if #task.deps > 0 then
    t.state, t.x.pe = 'b', o.dn
    call('ZADD', P .. 'b:' .. t.queue, number, L.member(t))
    L.save(t)
  elseif at == NOW and t.prio == '0' and next(t.x) == nil then
    L.save(t)
    call('RPUSH', P .. 'r:' .. t.queue, L.member(t))
    mark(t.queue)
  else L.place(t) end
  L.watch_expiry(t)
  if o.dk then L.take_key(task.queue, o.dk, task.id, o.dw) end
  return t
end
local function link(c, stored)
  local names = {}
  for _, task in ipairs(c.tasks) do names[task.id] = task.answer end
  for _, task in ipairs(stored) do
    if #task.deps > 0 then
      local t = L.load(task.id)
      local pending, failed, status = 0, nil, nil
      for position, d in ipairs(task.deps) do
        local parent = names[d.id] or d.id
        local ending = d.outcome
        if ending == '' then
          local p = L.load(parent)
          if p and p.state == 'f' and not p.x.un then ending = L.ending(p, 'f', p.x.fa, L.error_body(p))
          else
            L.expect(parent)
            pending = pending + 1
            call('ZADD', P .. 'o:' .. parent, 0, t.seq .. format('%06d', position) .. t.id)
          end
        end
        call('HSET', P .. 'c:' .. t.seq, position, parent .. '\0' .. d.fails .. '\0' .. (ending == '' and '-' or ending))
        if ending ~= '' and not failed and d.fails == 'f' and sub(ending, 1, 1) ~= 'c' then
          failed, status = parent, sub(ending, 1, 1)
        end
      end
      t = L.load(task.id)
      t.x.pe = S(pending)
      if failed then L.fail_dependent(t, failed, status)
      elseif pending == 0 then L.unblock(t)
      else L.save(t) end
    end
  end
end
local number = advance(tonumber(ARGV[3]))
local answers = {}
for n = 1, tonumber(ARGV[2]) do
  local c = read_call()
  local unknown = c.depends and unknown_of(c) or {}
  if #unknown > 0 then answers[n] = { 'unknown', unknown }
  else
    local replies, stored, fresh = {}, {}, {}
    for i, task in ipairs(c.tasks) do
      local rec = call('HGET', T, task.id)
      task.answer = task.id
      if rec and known(rec) then replies[i] = 0
      else
        local reply, holder = deduplicated(task)
        if reply then
          replies[i] = reply
          task.answer = holder
        else
          if rec then evict(task.id, rec) end
          insert(task, number)
          stored[#stored + 1] = task
          fresh[task.id] = true
          replies[i] = 1
        end
      end
      number = number + 1
    end
    if c.depends then link(c, stored) end
    local events = {}
    for _, event in ipairs(c.events) do if fresh[event[2]] then events[#events + 1] = event end end
    append(events)
    answers[n] = replies
  end
end
return answers
`;
