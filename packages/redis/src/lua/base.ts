// What every script begins with: the namespace, the server's clock, and the numbers that order tasks and results.

/**
 * `now` is the server's clock in milliseconds; it never runs backward, since the latest time that a script wrote is kept beside the data.
 * Lua prints large numbers with an exponent, so whole numbers become text by `S`; a number that is given to a command costs more than that.
 * `begin` is a removal: Redis refuses a script's first growing write when it is full, and none after a removal, so a full server still drains.
 *
 * `take_in` gives tasks that stand in the inbox (see `inbox.ts`) their place, in their order, with the time at which the server took them. It
 * reads at most `most`, answers how many, and `give` gets what is of the queue `wanted` in place of that queue's list. What was taken in is behind
 * the entry that `at` in `m` names, `kept` entries long, and cleared away now and then: on a server that was idle that costs as much as reading it.
 */
export const clock: string = clockWith("");

/** The same, reading one more field of `m` beside the clock. */
export function clockWith(field: string): string {
  return String.raw`
local P = KEYS[1]
local call, find, sub, match, gmatch, format, floor = redis.call, string.find, string.sub, string.match, string.gmatch, string.format, math.floor
local T = P .. 't'
local Q = P .. 'q'
local function S(n) return format('%d', n) end
-- Counts in a hash; a number that cannot be read begins anew.
local function add(key, field, n)
  local sum = redis.pcall('HINCRBY', key, field, S(n))
  if type(sum) == 'table' then
    sum = n
    call('HSET', key, field, S(n))
  end
  return sum
end
-- Whether a text is the id of an entry of a stream; commands refuse any other.
local function is_entry(text)
  local ms, n = match(text, '^(%d+)%-(%d+)$')
  return ms and #ms <= 16 and #n <= 16
end
local time = call('TIME')
local now = time[1] * 1000 + floor(time[2] / 1000)
local meta = call('HMGET', P .. 'm', 'clock', 'seq', 'in', 'at', 'kept', 'big'${field})
local latest = tonumber(meta[1]) or 0
local seq = tonumber(meta[2]) or 0
-- A clock that is a day ahead was not written by a script, nor was such a number: numbers go on above all that were given.
if latest > now + 86400000 then latest = 0 end
if seq < 0 or seq >= 140737488355328 or seq ~= floor(seq) or (seq == 0 and meta[2]) then seq = now * 16 end
if latest > now then now = latest end
local NOW = S(now)
local function advance(n)
  local first = seq + 1
  seq = seq + n
  if n > 0 then call('HSET', P .. 'm', 'clock', NOW, 'seq', S(seq))
  elseif now > latest then call('HSET', P .. 'm', 'clock', NOW) end
  return first
end
local function begin() call('DEL', P .. 'none') end
local function mark(queue) call('ZADD', P .. 'w:' .. queue, '0', '0') end
-- Records of more than this are looked at before they are read, where any was ever stored.
local function large(n) if n > 65536 and not meta[6] then call('HSET', P .. 'm', 'big', '1') end end
local inbox, at, kept = meta[3] and P .. 'in:' .. meta[3], meta[4] or '0-0', tonumber(meta[5]) or 0
-- A place that is none, or behind which no entry can stand yet: the entries are looked at again, and known ones passed over.
if not is_entry(at) or tonumber(match(at, '^%d+')) > now + 1000 then at = '0-0' end
local function take_in(most, wanted, give)
  local entries = inbox and call('XRANGE', inbox, '(' .. at, '+', 'COUNT', S(most)) or {}
  local n = #entries
  if n == 0 then return 0 end
  at = entries[n][1]
  if not wanted then begin() end
  local ids, seen, written, w, lists = {}, {}, {}, 0, {}
  for i = 1, n do
    -- An entry that no enqueue wrote is passed over.
    local pair = entries[i][2]
    ids[i] = pair[2] and #pair[1] > 6 and #pair[2] >= 36 and sub(pair[2], 1, 36) or ''
  end
  -- One is stored in the command that looks for it.
  local stored = n > 1 and call('HMGET', T, unpack(ids))
  local moment, time, field, reference, queue, list
  for i = 1, n do
    local id, entry = ids[i], entries[i]
    -- What was sent again is known.
    if id ~= '' and (not stored or not stored[i] and not seen[id]) then
      local own, pair = sub(entry[1], 1, 13), entry[2]
      if own ~= moment then
        moment, latest = own, math.max(latest, tonumber(own))
        time = format('%011x', latest)
      end
      if pair[1] ~= field then
        field = pair[1]
        reference, queue = sub(field, 1, 6), sub(field, 7)
        list = lists[queue] or {}
        lists[queue] = list
      end
      local number = format('%012x', seq + 1)
      local rec = 'p' .. number .. time .. reference .. sub(pair[2], 37)
      if stored or call('HSETNX', T, id, rec) == 1 then
        seq = seq + 1
        seen[id], written[w + 1], written[w + 2] = true, id, rec
        w = w + 2
        if queue == wanted then give(id, rec) else list[#list + 1] = number .. id end
      end
    end
  end
  if stored and w > 0 then call('HSET', T, unpack(written)) end
  for name, elements in pairs(lists) do if #elements > 0 then call('RPUSH', P .. 'r:' .. name, unpack(elements)) end end
  if latest > now then now = latest end
  NOW, latest = S(now), now
  kept = kept + n
  if kept >= 64 then
    call('XTRIM', inbox, 'MINID', at)
    kept = 1
  end
  call('HSET', P .. 'm', 'clock', NOW, 'seq', S(seq), 'at', at, 'kept', S(kept))
  return n
end
`;
}

/** Takes in all of the inbox: what every script does first that looks at tasks, numbers them or moves the clock. */
export const takeIn: string = String.raw`
while take_in(1000) == 1000 do end
`;

/** The rest: what the shortest way of `enqueue` does without. */
export const helpers: string = String.raw`
local function lower(kind, queue, at)
  local known = tonumber(call('HGET', Q, kind .. queue) or nil)
  if not known or at < known then call('HSET', Q, kind .. queue, S(at)) end
end
-- Pieces of a column, NUL after each. A plain search: patterns would look at each byte of a payload.
local function split(text)
  local list, n, from = {}, 0, 1
  local to = find(text, '\0', 1, true)
  while to do
    n = n + 1
    list[n] = sub(text, from, to - 1)
    from = to + 1
    to = find(text, '\0', from, true)
  end
  return list
end
-- Texts that may have NUL: one column, or an argument each. Gives where the next argument is.
local function texts(a)
  local n = tonumber(ARGV[a])
  if n == 0 then return split(ARGV[a + 1]), a + 2 end
  local list = {}
  for i = 1, n do list[i] = ARGV[a + i] end
  return list, a + n + 1
end
-- What a short record refers to.
local kinds = {}
-- Nil where it is gone or cannot be read.
local function kind(reference)
  local known = kinds[reference]
  if known == nil then
    local text = call('HGET', P .. 'v', reference)
    local head = text and match(text, '^([^%z]+%z[^%z]+%z%-?%d+%z%d+%z[%d-]+%z%d+%z1%z0)%z%z')
    known = head and { head = head } or false
    kinds[reference] = known
  end
  return known or nil
end
-- A record with all its fields; empty where its kind cannot be read.
local function expand(rec)
  if sub(rec, 1, 1) ~= 'p' then return rec end
  local reference = sub(rec, 25, 30)
  local k, moment = kind(reference), tonumber(sub(rec, 14, 24), 16)
  if not k or not moment then return '' end
  return 'r' .. sub(rec, 2, 13) .. k.head .. '\0' .. S(moment) .. '\0=\0\0@' .. reference .. ':' .. sub(rec, 31)
end
local function bucket(at, element)
  local number = S(floor(at / 60000))
  if call('RPUSH', P .. 'x:' .. number, element) == 1 then call('ZADD', P .. 'xs', number, number) end
end
`;

export const base: string = `${clock}${takeIn}${helpers}`;

/**
 * Tells those who wait for results of these tasks, with the results: one message for each waiting client. It is id, nonce and length of each, NUL
 * after each and once more, then the records. The nonce is what the client left with its word: only who can read the store knows it, and only
 * with it is a record taken from a message. A message that is not heard is no loss: the results are stored, and looked for. Long ones are looked
 * for (`-`): what a server keeps for a slow subscriber is limited.
 */
export const notify: string = String.raw`
-- written: id and record of those that the caller has at hand.
local function notify(ids, written)
  local waiting = P .. 'rw'
  if #ids == 0 or call('HLEN', waiting) == 0 then return end
  local lines = call('HMGET', waiting, unpack(ids))
  local found, heard = {}, {}
  for i = 1, #ids do
    if lines[i] then
      found[#found + 1] = ids[i]
      heard[#heard + 1] = lines[i]
    end
  end
  if #found == 0 then return end
  call('HDEL', waiting, unpack(found))
  local records, messages = {}, {}
  for i = 1, #written, 2 do records[written[i]] = written[i + 1] end
  for i, id in ipairs(found) do
    local rec = records[id] or result_of(id, call('HGET', T, id), call('HGET', P .. 'r', id))
    for channel, nonce in gmatch(heard[i], '([^%s:]+:[^%s:]+):%d+:(%S+)') do
      local message = messages[channel]
      if not message then
        message = { head = {}, records = {}, size = 0 }
        messages[channel] = message
      end
      local n = #message.head
      message.head[n + 1] = id
      message.head[n + 2] = nonce
      if rec and #rec <= 65536 and message.size + #rec <= 1048576 then
        message.size = message.size + #rec
        message.head[n + 3] = #rec
        message.records[#message.records + 1] = rec
      else message.head[n + 3] = '-' end
    end
  end
  for channel, message in pairs(messages) do
    call('PUBLISH', P .. channel, table.concat(message.head, '\0') .. '\0\0' .. table.concat(message.records))
  end
end
`;

/** Appends events, each once: `{ id, task id, time, text }`. The stream's order is that of the scripts. */
export const append: string = String.raw`
local function append(events)
  local n = #events
  if n == 0 then return end
  local ids, tasks = {}, {}
  for i = 1, n do ids[i] = events[i][1] end
  local known = call('SMISMEMBER', P .. 'ei', unpack(ids))
  local seen, fresh, names, odd = {}, {}, {}, {}
  for i = 1, n do
    local e = events[i]
    if known[i] == 0 and not seen[e[1]] then
      seen[e[1]] = true
      local at = call('XADD', P .. 'ev', '*', 'e', e[4])
      fresh[#fresh + 1] = e[1]
      local list = tasks[e[2]]
      if not list then
        list = {}
        tasks[e[2]] = list
        names[#names + 1] = e[2]
      end
      list[#list + 1] = at
      local behind = now - tonumber(e[3])
      if behind > 60000 or behind < -60000 then
        odd[#odd + 1] = e[3]
        odd[#odd + 1] = at
      end
    end
  end
  if #fresh == 0 then return end
  call('SADD', P .. 'ei', unpack(fresh))
  local lines = call('HMGET', P .. 'et', unpack(names))
  local written = {}
  for i = 1, #names do
    written[#written + 1] = names[i]
    written[#written + 1] = (lines[i] or '') .. table.concat(tasks[names[i]], ' ') .. ' '
  end
  call('HSET', P .. 'et', unpack(written))
  if #odd > 0 then call('ZADD', P .. 'eo', unpack(odd)) end
end
`;
