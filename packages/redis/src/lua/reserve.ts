// The part of scripts that takes leases: upkeep where it is due, then the best tasks of each queue that its limits let start.

/** ARGV from `a` on: mode (`n` now, `w` will wait, `b` woken) and the most bytes (or nothing), limit, lease, token, worker, stop key or empty, number of queues, queues. */
export const reserve: string = String.raw`
local function read_queue(line)
  local paused, active, limit, window, arrival = match(line, '^(.),([^,]+),([^,]+),([^,]+),([^,]+)')
  limit, window = tonumber(limit), tonumber(window)
  if not (limit and window and limit > 0 and window > 0) then limit = nil end
  return paused == '1', tonumber(active), limit, window, tonumber(arrival) or 0
end
local function reserve(a)
  local mode, limit, lease_ms, token, worker, stop = sub(ARGV[a], 1, 1), tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local queues = tonumber(ARGV[a + 6])
  local most, spent, full = tonumber(sub(ARGV[a], 2)), 0, false
  local parts, lengths, edges, taken = {}, {}, {}, 0
  local deadline = S(now + math.ceil(lease_ms))
  local fresh = '\0' .. deadline .. '\0001\0' .. NOW .. '\0000\0' .. worker .. '\0-\0\0'
  local next_at, stopped, L = nil, false, nil
  if stop ~= '' and call('DEL', stop) == 1 then stopped = true end
  local function sooner(at) if at and (not next_at or at < next_at) then next_at = at end end
  -- What the client gets of one lease: id, what it cannot tell of a first attempt, record.
  local function tell(id, info, rec)
    local n = #parts
    parts[n + 1], parts[n + 2], parts[n + 3], parts[n + 4] = id, '\0', info, '\0'
    parts[n + 5] = rec
    lengths[#lengths + 1] = #id + #info + #rec + 2
    spent = spent + #rec
  end
  -- The lease of a short record ends with the reference to its kind, and is settled without a look at the record.
  local function give(rec, state, id, n)
    tell(id, '', rec)
    if state == 'p' then return 'q' .. token .. '.' .. n .. fresh .. sub(rec, 1, 30) end
    return (state == 'r' and 'p' or 'x') .. token .. '.' .. n .. fresh .. sub(rec, 1, (find(rec, '\0\0', 14, true) or 31) - 1)
  end
  -- Takes up to n from the list, while they come before the ranked set's first; gives how many it took and whether the list had more.
  local function from_list(queue, n, score, member)
    local list = P .. 'r:' .. queue
    local elements
    if score then elements = call('LRANGE', list, 0, n - 1) else elements = call('LPOP', list, n) end
    if not elements or #elements == 0 then return 0, false end
    local ids, got, used, stale, written = {}, 0, 0, 0, {}
    for i = 1, #elements do ids[i] = sub(elements[i], 13) end
    local fit = fitting(ids, spent, most)
    local recs = fit > 0 and call('HMGET', T, unpack(ids, 1, fit))
    for i = 1, #elements do
      local rec = recs and recs[i]
      if i > fit or (most and rec and taken + got > 0 and spent + #rec > most) then
        full = true
        if not score then put_in_front(list, elements, i) end
        break
      end
      local state = rec and sub(rec, 1, 1)
      if state and (state == '' or not find('prd' .. passed, state, 1, true)) then
        -- The client cannot read it either, and has it set aside.
        written[#written + 1] = ids[i]
        written[#written + 1] = give(rec, state, ids[i], taken + got)
        got = got + 1
      elseif (state == 'p' or state == 'r' or state == 'd') and sub(rec, 2, 13) == sub(elements[i], 1, 12) then
        if score then
          local at = match(expand(rec), '^[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z(%d+)', 14)
          local own = 4398046511104000 + (tonumber(at or nil) or 0)
          if own > score or (own == score and tonumber(sub(elements[i], 1, 12), 16) > tonumber(sub(member, 1, 12), 16)) then break end
        end
        written[#written + 1] = ids[i]
        written[#written + 1] = give(rec, state, ids[i], taken + got)
        got = got + 1
      else stale = stale + 1 end
      used = i
    end
    if score and used > 0 then call('LPOP', list, used) end
    if stale > 0 and add(Q, 's' .. queue, -stale) <= 0 then call('HDEL', Q, 's' .. queue) end
    if got > 0 then
      written[#written + 1] = '\0'
      written[#written + 1] = '${"-".repeat(100)}'
      call('HSET', P .. 'l:' .. queue, unpack(written))
    end
    return got, used > 0
  end
  local function from_ranked(queue, member)
    L = L or library()
    local id = sub(member, 13)
    local rec = call('HGET', T, id)
    local t = rec and L.parse(id, rec)
    if not t or (t.state ~= 'k' and t.state ~= 'h') or t.seq ~= sub(member, 1, 12) then
      L.drop_ranked(queue, member)
      if rec and not t then L.load(id, queue, sub(member, 1, 12)) end
      return 0
    end
    local x = t.x
    local own_edges = x.dn and call('HGETALL', P .. 'c:' .. t.seq)
    local bytes = #rec
    if most and own_edges then for i = 2, #own_edges, 2 do bytes = bytes + #own_edges[i] end end
    if most and taken > 0 and spent + bytes > most then
      full = true
      return 0
    end
    spent = spent + bytes - #rec
    t.slot = x.gk and x.sl == '1'
    if x.ea and not x.sa and tonumber(x.ea) <= now then
      L.decide(t, 'e')
      return 0
    end
    call('ZREM', P .. 'k:' .. queue, member)
    if x.ea and not x.sa then call('ZREM', P .. 'e:' .. queue, member) end
    local plain = not (x.dk or x.gk or x.dn or x.df)
    local cut = find(rec, '\0\0', 14, true)
    local started = x.sa or NOW
    call('HSET', P .. 'l:' .. queue, id, (plain and 'p' or 'x') .. token .. '.' .. taken .. '\0' .. deadline .. '\0' .. S(t.attempt + 1) .. '\0' ..
      started .. '\0000\0' .. worker .. '\0' .. (x.pr or '-') .. '\0\0' .. sub(rec, 1, cut - 1), '\0', '${"-".repeat(100)}')
    tell(id, S(t.attempt + 1) .. ',' .. started, rec)
    if own_edges then edges[#edges + 1] = { #lengths - 1, own_edges } end
    if x.gk and not t.slot then
      local G = queue .. '\0' .. x.gk
      call('HDEL', P .. 'gc', G)
      add(P .. 'g', G, 1)
      L.refill(queue, x.gk)
    end
    return 1
  end
  for n = 1, queues do
    local queue = ARGV[a + 6 + n]
    if stopped then
      if call('LLEN', P .. 'r:' .. queue) > 0 or call('ZCARD', P .. 'k:' .. queue) > 0 then mark(queue) end
    elseif (taken < limit and not full) or mode ~= 'n' then
      local known = call('HMGET', Q, 'm' .. queue, 't' .. queue, 'l' .. queue)
      local line, due, dead = known[1], tonumber(known[2]), tonumber(known[3])
      if line then
        if (due and due <= now) or (dead and dead <= now) then
          L = L or library()
          due, dead = L.upkeep(queue, 1000)
        end
        local paused, active, rate, window, arrival = read_queue(line)
        sooner(due)
        sooner(dead)
        if not paused and taken < limit and not full then
          local room = limit - taken
          if active then room = math.min(room, active - math.max(0, call('HLEN', P .. 'l:' .. queue) - 1)) end
          if rate then
            local start = math.max(arrival, now)
            room = math.min(room, floor((now + window - start) / (window / rate) + 0.000001))
          end
          local before = taken
          local last = taken + room
          while taken < last and not full do
            local top = call('ZRANGE', P .. 'k:' .. queue, 0, 0, 'WITHSCORES')
            local score = top[1] and tonumber(top[2])
            if not score then
              local got, more = from_list(queue, last - taken)
              taken = taken + got
              if not more then break end
            elseif score < 4398046511104000 then taken = taken + from_ranked(queue, top[1])
            else
              local got, moved = from_list(queue, last - taken, score, top[1])
              taken = taken + got
              if not moved then taken = taken + from_ranked(queue, top[1]) end
            end
          end
          local started = taken - before
          if started > 0 then
            if not dead or now + lease_ms < dead then
              call('HSET', Q, 'l' .. queue, deadline)
              sooner(now + lease_ms)
            end
            if rate then
              local arrived = math.max(arrival, now) + started * window / rate
              local head, tail = match(line, '^(.,[^,]+,[^,]+,[^,]+),[^,]+(,.*)$')
              call('HSET', Q, 'm' .. queue, head .. ',' .. format('%.6f', arrived) .. tail)
              arrival = arrived
            end
          end
          if mode ~= 'n' then
            -- Who got less than it asked for left nothing, unless a rate kept it back.
            local more = (rate or full or taken >= limit) and (call('LLEN', P .. 'r:' .. queue) > 0 or call('ZCARD', P .. 'k:' .. queue) > 0)
            if more and rate then
              local at = math.ceil(arrival + window / rate - window)
              if at > now then sooner(at) end
            end
            if mode == 'b' and taken > before and ((more and (full or taken >= limit)) or due) then mark(queue) end
          end
        elseif mode == 'b' and not paused and (call('LLEN', P .. 'r:' .. queue) > 0 or call('ZCARD', P .. 'k:' .. queue) > 0) then mark(queue) end
      end
    end
  end
  local text = table.concat({ NOW, next_at and S(next_at) or '', token, deadline, table.concat(lengths, ','), table.concat(parts) }, '\0')
  if #edges > 0 then return { text, edges } end
  return text
end
`;
