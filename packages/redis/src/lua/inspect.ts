// The scripts that look: single tasks, lists and counts. They write nothing but what they take in from the inbox.

/** What one answer may have in bytes before it ends; the client asks for the rest. */
const answerBytes = 33_554_432;

/** For each id: record, lease or empty, and the edges of one that has dependencies; of as many as fit into an answer. */
export const get: string = String.raw`
local replies, bytes = {}, 0
for i = 1, #ARGV do
  local rec = call('HGET', T, ARGV[i])
  local state = rec and sub(rec, 1, 1)
  if not rec or state == 'R' or state == 'G' then replies[i] = 0
  else
    replies[i] = show(ARGV[i], rec)
    bytes = bytes + #rec
    if bytes > ${answerBytes} then break end
  end
end
return { NOW, replies }
`;

export const show: string = String.raw`
local L = library()
-- A record that can be read, or that of the dead letter which the task has become.
local function readable(id, rec, queue, seq)
  if L.parse(id, expand(rec)) then return rec end
  begin()
  L.set_aside(id, rec, queue, seq)
  return call('HGET', T, id)
end
local function show(id, damaged)
  local rec = readable(id, damaged)
  local lease, long = '', expand(rec)
  local state, queue = sub(long, 1, 1), match(long, '^[^%z]+%z([^%z]+)', 14)
  if find('rdkh', state, 1, true) then lease = call('HGET', P .. 'l:' .. queue, id) or '' end
  local cut = find(long, '\0\0', 14, true)
  local edges = find(sub(long, 14, cut), '\0dn', 1, true) and call('HGETALL', P .. 'c:' .. sub(rec, 2, 13)) or {}
  return { id, rec, lease, edges }
end
`;

/**
 * ARGV: enqueue number after which, limit, budget, queue or empty, name or empty, letters of states. Candidates are gathered from
 * every place of the queues, sorted by enqueue number, and looked at until the page is full or the budget is used. Answers now,
 * the tasks, and the number to go on after, empty at the end.
 */
export const list: string = String.raw`
local after, limit, budget, only, name, states = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local function wants(letter) return find(states, letter, 1, true) ~= nil end
local candidates = {}
local function add(member)
  local number = tonumber(sub(member, 1, 12), 16)
  if number and number > after then candidates[#candidates + 1] = { number, sub(member, 13) } end
end
local function all(members) for _, member in ipairs(members) do add(member) end end
local queues = {}
if only ~= '' then queues[1] = only
else
  for _, field in ipairs(call('HKEYS', Q)) do if sub(field, 1, 1) == 'm' then queues[#queues + 1] = sub(field, 2) end end
end
for _, queue in ipairs(queues) do
  if wants('r') then
    -- The list is in order of enqueue numbers, so that the place to go on from is found by halving.
    local key = P .. 'r:' .. queue
    local low, high = 0, call('LLEN', key)
    while after > 0 and low < high do
      local middle = floor((low + high) / 2)
      if (tonumber(sub(call('LINDEX', key, middle), 1, 12), 16) or 0) <= after then low = middle + 1 else high = middle end
    end
    all(call('LRANGE', key, low, low + budget))
    all(call('ZRANGE', P .. 'k:' .. queue, 0, -1))
    all(call('ZRANGE', P .. 'ha:' .. queue, 0, -1))
    all(call('ZRANGEBYSCORE', P .. 'd:' .. queue, '-inf', NOW))
  end
  if wants('s') then all(call('ZRANGEBYSCORE', P .. 'd:' .. queue, '(' .. NOW, '+inf')) end
  if wants('b') then all(call('ZRANGE', P .. 'b:' .. queue, 0, -1)) end
  if wants('f') then all(call('ZRANGE', P .. 'f:' .. queue, 0, -1)) end
  if wants('a') then
    local leases = call('HGETALL', P .. 'l:' .. queue)
    for i = 1, #leases, 2 do
      local number = match(leases[i + 1], '%z%z.(............)')
      if number then add(number .. leases[i]) end
    end
  end
end
if wants('c') or wants('e') then all(call('ZRANGE', P .. 'u', 0, -1)) end
table.sort(candidates, function(one, other) return one[1] < other[1] end)
local items, looked, last, bytes = {}, 0, nil, 0
for _, candidate in ipairs(candidates) do
  if candidate[1] ~= last then
    if #items >= limit or looked >= budget or bytes > ${answerBytes} then return { NOW, items, S(last) } end
    looked = looked + 1
    last = candidate[1]
    local rec = call('HGET', T, candidate[2])
    local first = rec and sub(rec, 1, 1)
    if first == 'R' or first == 'G' then rec = nil end
    if rec then rec = readable(candidate[2], rec, only ~= '' and only or nil, format('%012x', candidate[1])) end
    local long = rec and expand(rec)
    local state = long and sub(long, 1, 1)
    if rec and tonumber(sub(rec, 2, 13), 16) == candidate[1] then
      local own, queue = match(long, '^([^%z]+)%z([^%z]+)', 14)
      if (only == '' or queue == only) and (name == '' or own == name) then
        local shown = show(candidate[2], rec)
        local now_is = state
        if shown[3] ~= '' then now_is = 'a'
        elseif find('rdkh', state, 1, true) then now_is = 'r'
        elseif state == 's' then
          local enq, at = match(rec, '^[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z([^%z]+)%z([^%z]+)', 14)
          if tonumber(at == '=' and enq or at) <= now then now_is = 'r' end
        end
        if wants(now_is) then
          items[#items + 1] = shown
          bytes = bytes + #rec
        end
      end
    end
  end
end
return { NOW, items, '' }
`;

/** ARGV: queues, or none for all. For each queue: name, blocked, scheduled, ready, active, failed, unrecorded, settings. */
export const counts: string = String.raw`
local queues = ARGV
if #queues == 0 then
  queues = {}
  for _, field in ipairs(call('HKEYS', Q)) do if sub(field, 1, 1) == 'm' then queues[#queues + 1] = sub(field, 2) end end
  table.sort(queues)
end
local replies = {}
for i, queue in ipairs(queues) do
  local known = call('HMGET', Q, 'm' .. queue, 's' .. queue, 'u' .. queue)
  local due = call('ZCOUNT', P .. 'd:' .. queue, '-inf', NOW)
  local ready = call('LLEN', P .. 'r:' .. queue) - (tonumber(known[2] or '0') or 0) + call('ZCARD', P .. 'k:' .. queue) + call('ZCARD', P .. 'ha:' .. queue) + due
  replies[i] = { queue, call('ZCARD', P .. 'b:' .. queue), call('ZCARD', P .. 'd:' .. queue) - due, ready,
    math.max(0, call('HLEN', P .. 'l:' .. queue) - 1), call('ZCARD', P .. 'f:' .. queue), tonumber(known[3] or '0') or 0, known[1] or '' }
end
return replies
`;
