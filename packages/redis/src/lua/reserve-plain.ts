// The short way of a reserve: one queue without limits, where tasks are ready in its list and the inbox only. It needs little of what the other way
// makes first.

/**
 * ARGV from `a` on as the other way has it. Answers as it does, or nil where it must decide: then nothing was taken. The first write is a
 * removal, as `begin` is.
 */
export const reservePlain: string = String.raw`
-- How many of these records, from the first on, an answer may carry behind so many bytes; one always.
local function fitting(ids, spent, most)
  if not (most and meta[6]) then return #ids end
  for i = 1, #ids do
    spent = spent + call('HSTRLEN', T, ids[i])
    if spent > most then return spent == call('HSTRLEN', T, ids[i]) and 1 or i - 1 end
  end
  return #ids
end
-- States of records that an element of a list may have left behind; any other record there cannot be read.
local passed = 'khsbfceRG'
local function put_in_front(list, elements, from)
  local back = {}
  for i = #elements, from, -1 do back[#back + 1] = elements[i] end
  if #back > 0 then call('LPUSH', list, unpack(back)) end
end
local function reserve_plain(a)
  local limit, stop, queue = tonumber(ARGV[a + 1]), ARGV[a + 5], ARGV[a + 7]
  if ARGV[a + 6] ~= '1' or limit < 1 then return nil end
  local known = call('HMGET', Q, 'm' .. queue, 't' .. queue, 'l' .. queue)
  local due, dead = tonumber(known[2]), tonumber(known[3])
  if not known[1] or sub(known[1], 1, 6) ~= '0,-,-,' or (due and due <= now) or (dead and dead <= now) then return nil end
  local ranked = P .. 'k:' .. queue
  if call('EXISTS', ranked, stop == '' and ranked or stop) > 0 then return nil end
  local most, spent, full = tonumber(sub(ARGV[a], 2)), 0, false
  local list, token, lease_ms = P .. 'r:' .. queue, ARGV[a + 3], tonumber(ARGV[a + 2])
  local deadline = S(now + math.ceil(lease_ms))
  local fresh = '\0' .. deadline .. '\0001\0' .. NOW .. '\0000\0' .. ARGV[a + 4] .. '\0-\0\0'
  local parts, lengths, written, taken, stale = {}, {}, {}, 0, 0
  local function lease(id, rec)
    local state, own = sub(rec, 1, 1), token .. '.' .. taken .. fresh
    taken, spent = taken + 1, spent + #rec
    written[2 * taken - 1] = id
    -- The lease of a short record ends with the reference to its kind, and is settled without a look at the record.
    if state == 'p' then written[2 * taken] = 'q' .. own .. sub(rec, 1, 30)
    else written[2 * taken] = (state == 'r' and 'p' or 'x') .. own .. sub(rec, 1, (find(rec, '\0\0', 14, true) or 31) - 1) end
    parts[taken] = id .. '\0\0' .. rec
    lengths[taken] = #id + #rec + 2
  end
  repeat
    local asked = limit - taken
    local elements = call('LPOP', list, S(asked)) or {}
    local ids = {}
    for i = 1, #elements do ids[i] = sub(elements[i], 13) end
    local fit = fitting(ids, spent, most)
    local recs = fit > 0 and call('HMGET', T, unpack(ids, 1, fit))
    for i = 1, #elements do
      local id, rec = ids[i], recs and recs[i]
      if i > fit or (most and rec and taken > 0 and spent + #rec > most) then
        full = true
        put_in_front(list, elements, i)
        break
      end
      local state = rec and sub(rec, 1, 1)
      if (state == 'p' or state == 'r' or state == 'd') and sub(rec, 2, 13) == sub(elements[i], 1, 12) then lease(id, rec)
      -- The client cannot read it either, and has it set aside.
      elseif state and (state == '' or not find('prd' .. passed, state, 1, true)) then lease(id, rec)
      else stale = stale + 1 end
    end
  until full or taken == limit or #elements < asked
  -- Behind the list comes the inbox; what another queue has there takes its place on the way.
  local function lease_or_keep(id, rec)
    if most and taken > 0 and spent + #rec > most then full = true end
    if full then call('RPUSH', list, sub(rec, 2, 13) .. id) else lease(id, rec) end
  end
  while taken < limit and not full do
    local asked = limit - taken
    if take_in(asked, queue, lease_or_keep) < asked then break end
  end
  if stale > 0 and add(Q, 's' .. queue, -stale) <= 0 then call('HDEL', Q, 's' .. queue) end
  if taken > 0 then
    if not dead or now + lease_ms < dead then
      dead = now + lease_ms
      call('HSET', Q, 'l' .. queue, deadline)
      -- Longer than a listpack takes. It stays, so that not every reserve need write it.
      written[2 * taken + 1], written[2 * taken + 2] = '\0', '${"-".repeat(100)}'
    end
    call('HSET', P .. 'l:' .. queue, unpack(written))
    advance(0)
    local function more() return call('EXISTS', list) == 1 or inbox and #call('XRANGE', inbox, '(' .. at, '+', 'COUNT', '1') > 0 end
    if sub(ARGV[a], 1, 1) == 'b' and (due or full or taken == limit and more()) then mark(queue) end
  end
  local next_at = due and dead and math.min(due, dead) or due or dead
  return table.concat({ NOW, next_at and S(next_at) or '', token, deadline, table.concat(lengths, ','), table.concat(parts) }, '\0')
end
`;
