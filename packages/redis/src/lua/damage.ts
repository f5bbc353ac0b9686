// The part of the scripts that sets aside what cannot be read: a task becomes a dead letter that says so, and leaves wherever it stood.

/**
 * What is damaged does not say where it stands, so all places are looked at: by its number where that is known, else by its id. That takes time
 * in proportion to what the queues hold, once for each damaged task. `da` names the latest of them for those who report them.
 */
export const damage: string = String.raw`
-- Takes the task out of a sorted set, or out of a list; gives its number, or nil where it was not there.
local function member_of(key, seq, id)
  if seq then return call('ZREM', key, seq .. id) == 1 and seq or nil end
  local cursor = '0'
  repeat
    local page = call('ZSCAN', key, cursor, 'COUNT', '1000')
    for i = 1, #page[2], 2 do
      local member = page[2][i]
      if sub(member, 13) == id then
        call('ZREM', key, member)
        return sub(member, 1, 12)
      end
    end
    cursor = page[1]
  until cursor == '0'
end
local function element_of(key, seq, id)
  if seq then return call('LREM', key, 1, seq .. id) == 1 and seq or nil end
  for from = 0, call('LLEN', key), 1000 do
    for _, element in ipairs(call('LRANGE', key, from, from + 999)) do
      if sub(element, 13) == id and call('LREM', key, 1, element) == 1 then return sub(element, 1, 12) end
    end
  end
end
-- A member that stands for no task of the ranked set any more: its group goes on with the next one.
function L.drop_ranked(queue, member)
  call('ZREM', P .. 'k:' .. queue, member)
  local candidates = call('HGETALL', P .. 'gc')
  for i = 1, #candidates, 2 do
    local G = candidates[i]
    if match(candidates[i + 1], '^[^%z]+%z[^%z]+%z(.*)$') == member and sub(G, 1, #queue + 1) == queue .. '\0' then
      call('HDEL', P .. 'gc', G)
      L.refill(queue, sub(G, #queue + 2))
    end
  end
end
-- What the lease of an active task says of it.
local function held(id, queue)
  local lease = call('HGET', P .. 'l:' .. queue, id)
  if not lease then return nil end
  call('HDEL', P .. 'l:' .. queue, id)
  local head = match(lease, '^.[^%z]*%z%d+%z%d+%z%d+%z%d%z[^%z]*%z[^%z]*%z%z(.*)$')
  local t = head and L.parse(id, sub(lease, 1, 1) == 'q' and expand(head) or head .. '\0\0')
  return t or { x = {} }
end
-- Of which queue it was, nothing says any more.
local function count_unrecorded()
  local counts = {}
  for _, member in ipairs(call('ZRANGE', P .. 'u', 0, -1)) do
    local rec = call('HGET', T, sub(member, 13))
    local t = rec and L.parse(sub(member, 13), rec)
    if t then counts[t.queue] = (counts[t.queue] or 0) + 1 end
  end
  for _, field in ipairs(call('HKEYS', Q)) do
    if sub(field, 1, 1) == 'u' and not counts[sub(field, 2)] then call('HDEL', Q, field) end
  end
  for own, n in pairs(counts) do call('HSET', Q, 'u' .. own, S(n)) end
end
function L.set_aside(id, rec, queue, seq)
  seq = seq or match(rec, '^.(%x%x%x%x%x%x%x%x%x%x%x%x)')
  local was, place
  for _, field in ipairs(call('HKEYS', Q)) do
    local own = sub(field, 2)
    if sub(field, 1, 1) == 'm' then
      was = held(id, own)
      if was then
        place = own
        break
      end
      for _, kind in ipairs({ 'd:', 'b:', 'f:', 'k:', 'ha:' }) do
        local found = member_of(P .. kind .. own, seq, id)
        if found then
          seq, place = found, own
          if kind == 'k:' then L.drop_ranked(own, seq .. id) end
        end
      end
      local found = not place and element_of(P .. 'r:' .. own, seq, id)
      if found then seq, place = found, own end
      if place then
        member_of(P .. 'e:' .. own, seq, id)
        break
      end
    end
  end
  queue = place or queue or 'default'
  local left = member_of(P .. 'u', seq, id)
  if left then count_unrecorded() end
  seq = seq or left or was and was.seq or format('%012x', advance(1))
  local er = L.queue_error('OMNIQ_ITEM_DAMAGED', 'What is stored of the task cannot be read; remove it, and enqueue it again')
  local t = { id = id, state = 'f', seq = seq, name = was and was.name or '?', queue = queue, prio = '0', max = '1', ttl = '0', rem = '0',
    run = 1, attempt = 0, enq = NOW, at = NOW, x = { er = er, fa = NOW, dm = '1' }, body = '0:' }
  L.save(t)
  call('HSETNX', Q, 'm' .. queue, '0,-,-,-,-,-')
  call('ZADD', P .. 'f:' .. queue, NOW, L.member(t))
  call('RPUSH', P .. 'da', id)
  call('LTRIM', P .. 'da', -1000, -1)
  L.unlink(t)
  if was and was.x.gk then L.leave_group(was, true) end
  mark(queue)
  L.tell(id, L.ending(t, 'f', NOW, L.error_body(t)))
  return t
end
`;

/** ARGV: ids of tasks that a client could not read. */
export const setAside: string = String.raw`
begin()
advance(0)
local L = library()
for i = 1, #ARGV do
  local rec = call('HGET', T, ARGV[i])
  local state = rec and sub(rec, 1, 1)
  local t = rec and state ~= 'R' and state ~= 'G' and L.parse(ARGV[i], rec)
  if rec and state ~= 'R' and state ~= 'G' and not (t and t.x.dm) then L.set_aside(ARGV[i], rec) end
end
return 1
`;
