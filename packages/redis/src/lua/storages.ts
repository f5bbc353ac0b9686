// The scripts of results, events and schedules.
import { sweepBuckets } from "./upkeep.ts";

/** ARGV: how many, then for each id, run, fields, finished or empty, time to live or `-`, body. Answers the records that stand. */
export const putResults: string = String.raw`
local n = tonumber(ARGV[1])
local number = seq + 1
-- The first write is one that a full server refuses, so that a call is refused whole.
call('HSET', P .. 'm', 'clock', NOW, 'seq', S(seq + n))
local replies, told, written, a = {}, {}, {}, 2
for i = 1, n do
  local id = ARGV[a]
  local finished = ARGV[a + 3] == '' and NOW or ARGV[a + 3]
  local rec, new = put_result(id, tonumber(ARGV[a + 1]), ARGV[a + 2], finished, ARGV[a + 4], ARGV[a + 5], number + i - 1)
  replies[i] = rec
  if new then
    told[#told + 1] = id
    written[#written + 1] = id
    written[#written + 1] = rec
  end
  a = a + 6
end
notify(told, written)
return replies
`;

/** What one answer may have in bytes before it ends; the client asks for the rest. */
const answerBytes = 33_554_432;

/** ARGV: ids. The record of each, or 0; of as many as fit into an answer. */
export const getResults: string = String.raw`
local replies, bytes = {}, 0
for i = 1, #ARGV do
  local rec = result_of(ARGV[i], call('HGET', T, ARGV[i]), call('HGET', P .. 'r', ARGV[i]))
  replies[i] = rec or 0
  if rec then bytes = bytes + #rec end
  if bytes > ${answerBytes} then break end
end
return replies
`;

/**
 * ARGV: channel, time until which it listens, then id, lowest run and nonce of each. Where none is there it leaves word that this channel wants
 * to know. A full server refuses nothing here, since a removal comes first.
 */
export const waitResults: string = String.raw`
local ids, runs, nonces, bytes = {}, {}, {}, 0
for i = 3, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
  runs[#runs + 1] = tonumber(ARGV[i + 1])
  nonces[#nonces + 1] = ARGV[i + 2]
end
local recs = call('HMGET', T, unpack(ids))
local others = call('EXISTS', P .. 'r') == 1 and call('HMGET', P .. 'r', unpack(ids)) or {}
local found = {}
for i, id in ipairs(ids) do
  local rec = result_of(id, recs[i], others[i])
  -- What does not fit into the answer is found by the next look.
  if rec and bytes <= ${answerBytes} and (run_of(rec) >= runs[i] or unreadable(rec)) then
    found[#found + 1] = id
    found[#found + 1] = rec
    bytes = bytes + #rec
  end
end
if #found > 0 or ARGV[1] == '' then return found end
begin()
local key = P .. 'rw'
local lines = call('HMGET', key, unpack(ids))
local till, own = now + tonumber(ARGV[2]), ARGV[1]
local written = {}
for i, id in ipairs(ids) do
  local kept = own .. ':' .. S(till) .. ':' .. nonces[i]
  for channel, other, nonce in gmatch(lines[i] or '', '([^%s:]+:[^%s:]+):(%d+):(%S+)') do
    if channel ~= own and #other < 16 and tonumber(other) > now then kept = kept .. ' ' .. channel .. ':' .. other .. ':' .. nonce end
  end
  written[#written + 1] = id
  written[#written + 1] = kept
end
call('HSET', key, unpack(written))
return found
`;

export const deleteResults: string = String.raw`
begin()
for _, id in ipairs(ARGV) do
  local rec = call('HGET', T, id)
  local gone = {}
  if rec and sub(rec, 1, 1) == 'R' then
    gone[1] = rec
    forget_result(id, rec)
  end
  local other = call('HGET', P .. 'r', id)
  if other then
    gone[#gone + 1] = other
    call('HDEL', P .. 'r', id)
  end
  -- The list of those that are kept for ever is swept by nobody.
  for _, one in ipairs(gone) do
    if match(one, '^.............[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z.%z%d+%z([^%z]+)') == '-' then
      call('LREM', P .. 'x:inf', 1, 'r' .. sub(one, 2, 13) .. id)
    end
  end
end
return 1
`;

/** ARGV: bucket after which (or empty), number after which, limit, budget, queue, name, status letter. Answers ids, records and places, and where to go on. */
export const listResults: string = String.raw`
local from, after, limit, budget, only, name, status = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6], ARGV[7]
local numbers = from == 'inf' and {} or call('ZRANGEBYSCORE', P .. 'xs', from == '' and '-inf' or from, '+inf')
numbers[#numbers + 1] = 'inf'
local items, looked, bytes = {}, 0, 0
-- From where on results with a number above the given one can stand: the numbers grow, with elements of other kinds between them. Without this each
-- page would walk through all that is before it.
local function place_after(key, past)
  local low, high = 0, call('LLEN', key)
  while high - low > 500 do
    local middle = floor((low + high) / 2)
    local own
    for _, element in ipairs(call('LRANGE', key, middle, middle + 19)) do
      if sub(element, 1, 1) == 'r' then
        own = tonumber(sub(element, 2, 13), 16)
        break
      end
    end
    if own and own <= past then low = middle else high = middle end
  end
  return low
end
for _, number in ipairs(numbers) do
  local key = P .. 'x:' .. number
  local past = number == from and after or 0
  local start = past > 0 and place_after(key, past) or 0
  while true do
    local elements = call('LRANGE', key, start, start + 499)
    if #elements == 0 then break end
    for _, element in ipairs(elements) do
      local own = tonumber(sub(element, 2, 13), 16)
      if sub(element, 1, 1) == 'r' and own and own > past then
        local id = sub(element, 14)
        looked = looked + 1
        -- Where a dead letter was retried, both places may have a result; one of them stands.
        local rec = result_of(id, call('HGET', T, id)) or result_of(id, nil, call('HGET', P .. 'r', id))
        local odd = rec and unreadable(rec)
        if rec and (odd or sub(rec, 2, 13) == sub(element, 2, 13)) then
          local is_named, is_in, is = match(rec, '^.............[^%z]+%z[^%z]+%z([^%z]+)%z([^%z]+)%z(.)')
          if odd then is_named, is_in, is = '', '', 'f' end
          if (only == '' or is_in == only) and (name == '' or is_named == name) and (status == '' or is == status) then
            items[#items + 1] = id
            items[#items + 1] = rec
            items[#items + 1] = number .. ' ' .. S(own)
            bytes = bytes + #rec
          end
        end
        if #items >= limit * 3 or looked >= budget or bytes > ${answerBytes} then return { items, number, S(own) } end
      end
    end
    start = start + 500
  end
end
return { items, '', '' }
`;

export const sweepResults: string = String.raw`
begin()
advance(0)
local L = {}
${sweepBuckets}
local _, gone = L.sweep_buckets(tonumber(ARGV[1]))
local waiting = P .. 'rw'
if call('HLEN', waiting) > 0 then
  local cursor = call('HGET', P .. 'm', 'waiting') or '0'
  local page = call('HSCAN', waiting, cursor, 'COUNT', 200)
  call('HSET', P .. 'm', 'waiting', page[1])
  for i = 1, #page[2], 2 do
    local lives = false
    for till in gmatch(page[2][i + 1], ':(%d+):') do if tonumber(till) > now then lives = true end end
    if not lives then call('HDEL', waiting, page[2][i]) end
  end
end
return gone
`;

/** ARGV: how many, then for each id, task id, time, text. */
export const appendEvents: string = String.raw`
local events, a = {}, 2
for i = 1, tonumber(ARGV[1]) do
  events[i] = { ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3] }
  a = a + 4
end
append(events)
return 1
`;

/** ARGV: task id, stream id after which, how many. The task's events, and whether more follow. */
export const eventsOfTask: string = String.raw`
local function parts(id)
  local ms, n = match(id, '^(%d+)-(%d+)$')
  if not is_entry(id) then return -1, -1 end
  return tonumber(ms), tonumber(n)
end
local ams, an = parts(ARGV[2])
local replies = {}
for id in gmatch(call('HGET', P .. 'et', ARGV[1]) or '', '(%S+)') do
  local ms, n = parts(id)
  if ms > ams or (ms == ams and n > an) then
    local entry = call('XRANGE', P .. 'ev', id, id)[1]
    if entry then
      replies[#replies + 1] = entry
      if #replies >= tonumber(ARGV[3]) then break end
    end
  end
end
return replies
`;

/** ARGV: limit, time to live. Removes events that are past their time, the odd ones (whose own time is not near the append's) by their index. */
export const sweepEvents: string = String.raw`
begin()
local limit, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
local removed = 0
local function drop(entry)
  local id, task = match(entry[2][2] or '', '^([^%z]+)%z([^%z]+)')
  call('XDEL', P .. 'ev', entry[1])
  if id then call('SREM', P .. 'ei', id) end
  local line = task and call('HGET', P .. 'et', task)
  if line then
    local kept = {}
    for own in gmatch(line, '(%S+)') do if own ~= entry[1] then kept[#kept + 1] = own end end
    if #kept == 0 then call('HDEL', P .. 'et', task) else call('HSET', P .. 'et', task, table.concat(kept, ' ') .. ' ') end
  end
  removed = removed + 1
end
for _, at in ipairs(call('ZRANGEBYSCORE', P .. 'eo', '-inf', S(now - ttl), 'LIMIT', 0, limit)) do
  call('ZREM', P .. 'eo', at)
  local entry = is_entry(at) and call('XRANGE', P .. 'ev', at, at)[1]
  if entry then drop(entry) end
end
if removed < limit then
  for _, entry in ipairs(call('XRANGE', P .. 'ev', '-', S(math.max(0, now - ttl - 60000)), 'COUNT', limit - removed)) do
    if not call('ZSCORE', P .. 'eo', entry[1]) then drop(entry) end
  end
end
return removed
`;

/** ARGV: id, condition (`?` any, `-` none, else the revision), new revision, next or empty, paused, text. 1, or 0 on a conflict. */
export const putSchedule: string = String.raw`
local id, condition = ARGV[1], ARGV[2]
local known = call('HGET', P .. 'sr', id)
if condition == '-' then if known then return 0 end
elseif condition ~= '?' and known ~= sub(condition, 2) then return 0 end
call('HSET', P .. 'sc', id, ARGV[6])
call('HSET', P .. 'sr', id, ARGV[3])
call('HSET', P .. 'sn', id, ARGV[4] .. ' ' .. ARGV[7])
call('HSET', P .. 'sp', id, ARGV[5])
call('ZADD', P .. 'si', 0, id)
if ARGV[4] == '' or ARGV[5] == '1' then call('ZREM', P .. 'sd', id) else call('ZADD', P .. 'sd', ARGV[4], id) end
return 1
`;

const schedulesOf = String.raw`
local function schedules_of(ids)
  local replies = {}
  for i, id in ipairs(ids) do
    local revision = call('HGET', P .. 'sr', id)
    if not revision then replies[i] = 0
    else replies[i] = { id, call('HGET', P .. 'sc', id) or '', revision, call('HGET', P .. 'sn', id) or '', call('HGET', P .. 'sp', id) or '' } end
  end
  return replies
end
`;
export const getSchedules: string = `${schedulesOf}return schedules_of(ARGV)`;
/** ARGV: id after which (with its bracket), how many. */
export const listSchedules: string = `${schedulesOf}return schedules_of(call('ZRANGEBYLEX', P .. 'si', ARGV[1], '+', 'LIMIT', 0, ARGV[2]))`;
export const dueSchedules: string = `${schedulesOf}local ids = call('ZRANGEBYSCORE', P .. 'sd', '-inf', NOW, 'LIMIT', 0, ARGV[1])\nreturn { NOW, ids, schedules_of(ids) }`;

/** ARGV: ids of schedules that a client could not read, or that there are none of. They are never due. */
export const parkSchedules: string = String.raw`
begin()
for _, id in ipairs(ARGV) do call('ZREM', P .. 'sd', id) end
return 1
`;

export const deleteSchedules: string = String.raw`
begin()
local replies = {}
for i, id in ipairs(ARGV) do
  replies[i] = call('HDEL', P .. 'sr', id)
  for _, key in ipairs({ 'sc', 'sn', 'sp' }) do call('HDEL', P .. key, id) end
  call('ZREM', P .. 'si', id)
  call('ZREM', P .. 'sd', id)
end
return replies
`;

/** ARGV: id, revision, new revision, next or empty, runs. */
export const advanceSchedule: string = String.raw`
local id = ARGV[1]
if call('HGET', P .. 'sr', id) ~= ARGV[2] then return 0 end
begin()
call('HSET', P .. 'sr', id, ARGV[3])
call('HSET', P .. 'sn', id, ARGV[4] .. ' ' .. ARGV[5])
if ARGV[4] == '' or call('HGET', P .. 'sp', id) == '1' then call('ZREM', P .. 'sd', id) else call('ZADD', P .. 'sd', ARGV[4], id) end
return 1
`;
