// The parts of scripts that do upkeep: dead leases, expired and due tasks, and what is past its time.

export const upkeep: string = String.raw`
function L.end_dead_lease(t)
  local expiries = tonumber(t.x.xp or '0') + 1
  t.attempt = t.attempt - 1
  t.x.xp = S(expiries)
  if t.cancelling then L.decide(t, 'c')
  elseif expiries >= 3 then
    L.decide(t, 'f', L.queue_error('OMNIQ_LEASE_LOST',
      'Its lease ran out ' .. S(expiries) .. ' times: the worker died, hung, or lost its connection each time'))
  else
    t.x.ra, t.at = nil, S(now + 1 + floor(L.random() * 1000))
    L.put_back(t, t.x.gl == '1')
  end
end
-- Redis seeds Lua's random numbers alike in each script; so the clock's microseconds are mixed in.
local draws = 0
function L.random()
  draws = draws + 1
  return ((tonumber(time[2]) * 7919 + draws * 104729 + seq * 31) % 1000003) / 1000003
end
-- Ends, expires and promotes at most about bound tasks each. Gives when there is something to do next, by time and by leases.
function L.upkeep(queue, bound)
  local changed = 0
  local dead, deadline = {}, nil
  local known = call('HMGET', Q, 't' .. queue, 'l' .. queue)
  if known[2] and tonumber(known[2]) <= now then
    local leases = call('HGETALL', P .. 'l:' .. queue)
    for i = 1, #leases, 2 do
      local at = tonumber(match(leases[i + 1], '^[^%z]*%z(%d+)%z') or nil)
      -- Nobody can hold a lease that cannot be read.
      if not at and leases[i] ~= '\0' then at = 0 end
      if at then
        if at <= now then dead[#dead + 1] = { at, leases[i] }
        elseif not deadline or at < deadline then deadline = at end
      end
    end
    table.sort(dead, function(one, other) return one[1] < other[1] end)
    for i, entry in ipairs(dead) do
      if i > bound then
        deadline = entry[1]
        break
      end
      local t = L.load(entry[2], queue)
      if t and t.state == 'a' then
        L.end_dead_lease(t)
        changed = changed + 1
      else
        call('HDEL', P .. 'l:' .. queue, entry[2])
        -- One that says it is of another queue stands in none: its kind is damaged.
        if t and t.queue ~= queue and L.waits(t) then L.set_aside(t.id, '', queue, t.seq) end
      end
    end
    if deadline then call('HSET', Q, 'l' .. queue, S(deadline)) else call('HDEL', Q, 'l' .. queue) end
  else deadline = tonumber(known[2] or nil) end
  local due = tonumber(call('HGET', Q, 't' .. queue) or nil)
  if due and due <= now then
    for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'e:' .. queue, '-inf', NOW, 'LIMIT', 0, bound)) do
      local t = L.load(sub(member, 13), queue, sub(member, 1, 12))
      if t and t.seq == sub(member, 1, 12) and L.waits(t) then
        L.decide(t, 'e')
        changed = changed + 1
      else call('ZREM', P .. 'e:' .. queue, member) end
    end
    for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'd:' .. queue, '-inf', NOW, 'LIMIT', 0, bound)) do
      call('ZREM', P .. 'd:' .. queue, member)
      local t = L.load(sub(member, 13), queue, sub(member, 1, 12))
      if t and t.state == 's' and t.seq == sub(member, 1, 12) then
        t.state = 'gone'
        L.place(t)
        changed = changed + 1
      end
    end
    due = nil
    for _, kind in ipairs({ 'e:', 'd:' }) do
      local first = call('ZRANGE', P .. kind .. queue, 0, 0, 'WITHSCORES')
      if first[1] and (not due or tonumber(first[2]) < due) then due = tonumber(first[2]) end
    end
    if due then call('HSET', Q, 't' .. queue, S(due)) else call('HDEL', Q, 't' .. queue) end
  end
  return due, deadline, changed
end
`;

/** ARGV: limit. Upkeep of all queues, old dead letters, and what need not be remembered any more. */
export const sweep: string = String.raw`
begin()
advance(0)
local L = library()
local limit = tonumber(ARGV[1])
local left = limit
local queues = call('HKEYS', Q)
table.sort(queues)
for _, field in ipairs(queues) do
  if sub(field, 1, 1) == 'm' and left > 0 then
    local queue = sub(field, 2)
    local known = call('HMGET', Q, 't' .. queue, 'l' .. queue, field)
    local due, dead = tonumber(known[1] or nil), tonumber(known[2] or nil)
    if (due and due <= now) or (dead and dead <= now) then
      local _, _, changed = L.upkeep(queue, left)
      left = left - changed
    end
    local ttl = tonumber(match(known[3], '([^,]+)$'))
    if ttl and left > 0 then
      for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'f:' .. queue, '-inf', S(now - ttl), 'LIMIT', 0, left)) do
        local t = L.load(sub(member, 13), queue, sub(member, 1, 12))
        if t and t.state == 'f' and not t.x.un then
          L.remove(t)
          left = left - 1
        end
      end
    end
  end
end
local freed = L.sweep_buckets(math.max(left, 0))
return limit - left + freed
`;

/** What is past its time in the buckets of a minute each. */
export const sweepBuckets: string = String.raw`
function L.sweep_buckets(limit)
  local left, results_gone = limit, 0
  for _, number in ipairs(call('ZRANGEBYSCORE', P .. 'xs', '-inf', S(floor(now / 60000) - 1), 'LIMIT', 0, 100)) do
    local key = P .. 'x:' .. number
    while left > 0 do
      local elements = call('LPOP', key, math.min(left, 500))
      if not elements or #elements == 0 then break end
      left = left - #elements
      for _, element in ipairs(elements) do
        local kind, rest = sub(element, 1, 1), sub(element, 2)
        if kind == 'r' then
          local id = sub(rest, 13)
          local rec = call('HGET', T, id)
          if rec and sub(rec, 1, 13) == 'R' .. sub(rest, 1, 12) then
            forget_result(id, rec)
            results_gone = results_gone + 1
          else
            local other = call('HGET', P .. 'r', id)
            if other and sub(other, 2, 13) == sub(rest, 1, 12) then
              call('HDEL', P .. 'r', id)
              results_gone = results_gone + 1
            end
          end
        elseif kind == 'g' then
          local rec = call('HGET', T, rest)
          if rec and sub(rec, 1, 1) == 'G' then
            local rem, token, finished = match(rec, '^G(%d+)%z([^%z]+)%z.%z(%d+)')
            local gone = tonumber(rem or nil) or 0
            if rem and token ~= '-' then gone = math.max(gone, tonumber(finished) + 600000) end
            if gone <= now then call('HDEL', T, rest) end
          end
        elseif kind == 's' then
          local line = call('HGET', P .. 's', rest)
          if line and (tonumber(match(line, '^.(%d+)') or nil) or 0) <= now then call('HDEL', P .. 's', rest) end
        elseif kind == 'k' then
          local line = call('HGET', P .. 'dk', rest)
          local till = line and match(line, '^(%d+)%z')
          if till and tonumber(till) <= now then call('HDEL', P .. 'dk', rest) end
        end
      end
    end
    if call('EXISTS', key) == 0 then call('ZREM', P .. 'xs', number) end
    if left <= 0 then break end
  end
  return limit - left, results_gone
end
`;
