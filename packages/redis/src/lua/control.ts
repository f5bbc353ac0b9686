// The scripts of control: cancel, retry, remove, purge, pause and settings, unrecorded outcomes and their recording.

export const cancel: string = String.raw`
begin()
advance(0)
local L = library()
local replies, told = {}, {}
for i = 1, #ARGV do
  local t = L.load(ARGV[i])
  if not t or not (t.state == 'a' or L.waits(t)) then replies[i] = 0
  elseif t.state == 'a' then
    local key = P .. 'l:' .. t.queue
    local before, after = match(call('HGET', key, t.id), '^([^%z]*%z%d+%z%d+%z%d+%z)%d(%z.*)$')
    call('HSET', key, t.id, before .. '1' .. after)
    replies[i] = 2
    told[#told + 1] = t.id
  else
    L.decide(t, 'c')
    replies[i] = 1
  end
end
-- A hint for the workers that hold them.
if #told > 0 then call('PUBLISH', P .. 'cancel', table.concat(told, '\0')) end
return replies
`;

/**
 * ARGV: how many, ids, then id and ending of each outcome that is given. 0 unknown, 1 retried, 2 busy, 3 conflict. All are placed before any is
 * blocked again, so that those of one call can wait for each other.
 */
export const retry: string = String.raw`
begin()
advance(0)
local L = library()
local replies, given, retried, n = {}, {}, {}, tonumber(ARGV[1])
local function run_in(ending) return tonumber(match(ending or '', '^.%z(%d+)') or nil) or 0 end
for i = n + 2, #ARGV, 2 do if run_in(ARGV[i + 1]) > run_in(given[ARGV[i]]) then given[ARGV[i]] = ARGV[i + 1] end end
for i = 1, n do
  local t = L.load(ARGV[i + 1])
  if not t or t.x.dm or not find('fce', t.state, 1, true) then replies[i] = 0
  elseif t.x.un then replies[i] = 2
  else
    local holder = t.x.dk and L.holder(t.queue, t.x.dk)
    if holder and holder ~= t.id then replies[i] = 3
    else
      if t.x.dk and not holder and not t.x.dw then L.take_key(t.queue, t.x.dk, t.id) end
      L.unplace(t)
      t.state, t.run, t.attempt, t.at = 'gone', t.run + 1, 0, NOW
      local x = t.x
      x.xp, x.sa, x.fa, x.sl, x.er, x.pr, x.ra, x.ca = nil, nil, nil, nil, nil, nil, nil, nil
      L.place(t)
      L.watch_expiry(t)
      replies[i] = 1
      if x.dn then retried[#retried + 1] = t.id end
    end
  end
end
for _, id in ipairs(retried) do
  local t = L.load(id)
  local edges, pending = call('HGETALL', P .. 'c:' .. t.seq), 0
  for i = 1, #edges, 2 do
    local position, parent, fails, ending = edges[i], match(edges[i + 1], '^([^%z]+)%z(.)%z(.*)$')
    local p = parent and L.load(parent)
    if p and (p.state == 'a' or L.waits(p)) then
      pending = pending + 1
      L.expect(parent)
      call('ZADD', P .. 'o:' .. parent, 0, t.seq .. format('%06d', tonumber(position) or 0) .. id)
      call('HSET', P .. 'c:' .. t.seq, position, parent .. '\0' .. fails .. '\0-')
    elseif parent and given[parent] and run_in(given[parent]) > run_in(ending) then
      call('HSET', P .. 'c:' .. t.seq, position, parent .. '\0' .. fails .. '\0' .. given[parent])
    end
  end
  t = L.load(id)
  t.x.pe = S(pending)
  if pending > 0 then
    local grouped = t.x.gk and not t.slot
    L.unplace(t)
    t.state = 'b'
    call('ZADD', P .. 'b:' .. t.queue, tonumber(t.seq, 16), L.member(t))
    L.save(t)
    L.watch_expiry(t)
    if grouped then L.refill(t.queue, t.x.gk) end
  end
end
return replies
`;

/** 0 unknown, 1 removed, 2 busy, 3 freed. */
export const remove: string = String.raw`
begin()
advance(0)
local L = library()
local replies = {}
for i = 1, #ARGV do
  local id = ARGV[i]
  local t = L.load(id)
  if not t then
    -- What is left of one that is gone: its result stays where results are, its token where settlements are.
    local rec = call('HGET', T, id)
    replies[i] = rec and known(rec) and 3 or 0
    if rec then
      evict(id, rec)
      call('HDEL', T, id)
    end
  elseif t.state == 'a' or t.x.un then replies[i] = 2
  else
    L.remove(t, true)
    replies[i] = 1
  end
end
return replies
`;

/**
 * ARGV: queue, letters of states, last enqueue number (empty at first), number after which, bound. One step of a purge, in enqueue
 * order. A set of more than 5,000 is first made smaller in its own order. Answers how many it removed, the last number, the number to go on
 * after, and whether it is over.
 */
export const purge: string = String.raw`
begin()
advance(0)
local L = library()
local queue, states, last, after, bound = ARGV[1], ARGV[2], tonumber(ARGV[3]) or seq, tonumber(ARGV[4]), tonumber(ARGV[5])
local members, removed, large = {}, 0, 5000
local function wants(letter) return find(states, letter, 1, true) ~= nil end
local function take(member)
  local number = tonumber(sub(member, 1, 12), 16)
  local t = number and number <= last and L.load(sub(member, 13), queue, sub(member, 1, 12))
  if t and t.seq == sub(member, 1, 12) and t.state ~= 'a' and not t.x.un and not find('ce', t.state, 1, true) then
    L.remove(t, true)
    removed = removed + 1
  end
end
local sets = {}
if wants('s') or wants('r') then
  sets[#sets + 1] = { 'd:', wants('r') and '-inf' or '(' .. NOW, wants('s') and '+inf' or NOW }
end
if wants('r') then sets[#sets + 1] = { 'k:', '-inf', '+inf' } end
if wants('f') then sets[#sets + 1] = { 'f:', '-inf', '+inf' } end
for _, set in ipairs(sets) do
  local key = P .. set[1] .. queue
  if call('ZCOUNT', key, set[2], set[3]) > large then
    for _, member in ipairs(call('ZRANGEBYSCORE', key, set[2], set[3], 'LIMIT', 0, bound)) do take(member) end
    if removed > 0 then return { removed, S(last), S(after), 0 } end
  end
end
local function gather(list)
  for _, member in ipairs(list) do if (tonumber(sub(member, 1, 12), 16) or 0) > after then members[#members + 1] = member end end
end
for _, set in ipairs(sets) do gather(call('ZRANGEBYSCORE', P .. set[1] .. queue, set[2], set[3], 'LIMIT', 0, large)) end
if wants('b') then gather(call('ZRANGEBYSCORE', P .. 'b:' .. queue, '(' .. S(after), '+inf', 'LIMIT', 0, bound + 1)) end
if wants('r') then
  gather(call('ZRANGEBYLEX', P .. 'ha:' .. queue, '(' .. format('%012x', after) .. '\255', '+', 'LIMIT', 0, bound + 1))
  local key = P .. 'r:' .. queue
  local low, high = 0, call('LLEN', key)
  while low < high do
    local middle = floor((low + high) / 2)
    if (tonumber(sub(call('LINDEX', key, middle), 1, 12), 16) or 0) <= after then low = middle + 1 else high = middle end
  end
  gather(call('LRANGE', key, low, low + bound))
end
table.sort(members, function(one, other) return tonumber(sub(one, 1, 12), 16) < tonumber(sub(other, 1, 12), 16) end)
for i = 1, math.min(bound, #members) do
  take(members[i])
  after = tonumber(sub(members[i], 1, 12), 16)
end
return { removed, S(last), S(after), #members <= bound and 1 or 0 }
`;

/** ARGV: queue, field (`paused`, or which settings), value. */
export const configure: string = String.raw`
begin()
advance(0)
local queue = ARGV[1]
local values, n = {}, 0
for value in gmatch(call('HGET', Q, 'm' .. queue) or '0,-,-,-,-,-', '[^,]+') do
  n = n + 1
  values[n] = value
end
for i = 1, 6 do
  if ARGV[i + 1] ~= '' then values[i] = ARGV[i + 1] end
  values[i] = values[i] or (i == 1 and '0' or '-')
end
call('HSET', Q, 'm' .. queue, table.concat(values, ','))
if values[1] == '0' then mark(queue) end
return 1
`;

export const unrecorded: string = String.raw`
local replies, odd = {}, {}
local members = call('ZRANGE', P .. 'u', 0, tonumber(ARGV[1]) - 1)
local L = #members > 0 and library()
for i, member in ipairs(members) do
  local rec = call('HGET', T, sub(member, 13))
  local t = rec and L.parse(sub(member, 13), rec)
  if t and t.x.un then
    replies[#replies + 1] = member
    replies[#replies + 1] = rec
  else odd[#odd + 1] = member end
end
if #odd > 0 then
  begin()
  for _, member in ipairs(odd) do
    L.load(sub(member, 13), nil, sub(member, 1, 12))
    call('ZREM', P .. 'u', member)
  end
end
return { replies, call('LRANGE', P .. 'da', -100, -1) }
`;

/** ARGV: id, run, ... */
export const record: string = String.raw`
begin()
advance(0)
local L = library()
for i = 1, #ARGV, 2 do
  local t = L.load(ARGV[i])
  if t and t.x.un and S(t.run) == ARGV[i + 1] then L.recorded(t) end
end
return 1
`;

/** ARGV: 1 where the wait is over, queues. Wakes the script that waits behind the last key, or ends it. */
export const wake: string = String.raw`
begin()
local key = KEYS[#KEYS]
call('ZADD', key, 0, 'wake')
if ARGV[1] == '1' then call('ZADD', key, 1, 'stop') end
call('PEXPIRE', key, 60000)
return 1
`;

/** ARGV: version. Writes the version of the layout where there is none, and answers with the one that is there. */
export const open: string = String.raw`
local known = call('HGET', P .. 'm', 'version')
if known then return known end
begin()
call('HSET', P .. 'm', 'version', ARGV[1])
return ARGV[1]
`;

/**
 * ARGV: reference, text, a new name for the inbox or empty. Stores what many tasks share, and sees that there is an inbox. Answers 1, or 0 where
 * something else has the reference.
 */
export const kind: string = String.raw`
call('HSETNX', P .. 'v', ARGV[1], ARGV[2])
if call('HGET', P .. 'v', ARGV[1]) ~= ARGV[2] then return 0 end
-- So that the shortest way of enqueue need look at one key only.
call('HSETNX', P .. 'm', ARGV[1], '1')
call('HSETNX', Q, 'm' .. match(ARGV[2], '^[^%z]*%z([^%z]*)'), '0,-,-,-,-,-')
if ARGV[3] ~= '' and not (inbox and call('EXISTS', inbox) == 1) then
  inbox = P .. 'in:' .. ARGV[3]
  call('HSET', P .. 'm', 'in', ARGV[3], 'at', call('XADD', inbox, '*', '', ''), 'kept', '1')
end
return 1
`;
