// The short way of a reserve: one queue without limits, where tasks are ready in its list and the inbox only. It needs little of what the other way
// makes first.

/**
 * ARGV from `a` on as the other way has it. Answers as it does, or nil where it must decide: then nothing was taken. The first write is a
 * removal, as `begin` is.
 */
export const reservePlain: string = String.raw`
local function reserve_plain(a)
  local limit, stop, queue = tonumber(ARGV[a + 1]), ARGV[a + 5], ARGV[a + 7]
  if ARGV[a + 6] ~= '1' or limit < 1 then return nil end
  local known = call('HMGET', Q, 'm' .. queue, 't' .. queue, 'l' .. queue)
  local due, dead = tonumber(known[2]), tonumber(known[3])
  if not known[1] or sub(known[1], 1, 6) ~= '0,-,-,' or (due and due <= now) or (dead and dead <= now) then return nil end
  local ranked = P .. 'k:' .. queue
  if call('EXISTS', ranked, stop == '' and ranked or stop) > 0 then return nil end
  local list, token, lease_ms = P .. 'r:' .. queue, ARGV[a + 3], tonumber(ARGV[a + 2])
  local deadline = S(now + math.ceil(lease_ms))
  local fresh = '\0' .. deadline .. '\0001\0' .. NOW .. '\0000\0' .. ARGV[a + 4] .. '\0-\0\0'
  local parts, lengths, written, taken, stale = {}, {}, {}, 0, 0
  local function lease(id, rec)
    local state, own = sub(rec, 1, 1), token .. '.' .. taken .. fresh
    taken = taken + 1
    written[2 * taken - 1] = id
    -- The lease of a short record ends with the reference to its kind, and is settled without a look at the record.
    if state == 'p' then written[2 * taken] = 'q' .. own .. sub(rec, 1, 30)
    else written[2 * taken] = (state == 'r' and 'p' or 'x') .. own .. sub(rec, 1, find(rec, '\0\0', 14, true) - 1) end
    parts[taken] = id .. '\0\0' .. rec
    lengths[taken] = #id + #rec + 2
  end
  repeat
    local asked = limit - taken
    local elements = call('LPOP', list, S(asked)) or {}
    local ids = {}
    for i = 1, #elements do ids[i] = sub(elements[i], 13) end
    local recs = #ids > 0 and call('HMGET', T, unpack(ids))
    for i = 1, #elements do
      local id, rec = ids[i], recs[i]
      local state = rec and sub(rec, 1, 1)
      if (state == 'p' or state == 'r' or state == 'd') and sub(rec, 2, 13) == sub(elements[i], 1, 12) then lease(id, rec)
      else stale = stale + 1 end
    end
  until taken == limit or #elements < asked
  -- Behind the list comes the inbox; what another queue has there takes its place on the way.
  while taken < limit do
    local asked = limit - taken
    if take_in(asked, queue, lease) < asked then break end
  end
  if stale > 0 and call('HINCRBY', Q, 's' .. queue, S(-stale)) <= 0 then call('HDEL', Q, 's' .. queue) end
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
    if ARGV[a] == 'b' and (due or taken == limit and more()) then mark(queue) end
  end
  local next_at = due and dead and math.min(due, dead) or due or dead
  return table.concat({ NOW, next_at and S(next_at) or '', token, deadline, table.concat(lengths, ','), table.concat(parts) }, '\0')
end
`;
