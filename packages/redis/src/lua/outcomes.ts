// The part of the scripts that knows how tasks end: decisions of the queue, dependents, keys, results, and what is remembered.

export const outcomes: string = String.raw`
local statuses = { c = 'completed', f = 'failed', x = 'cancelled', e = 'expired' }
local function quote(text) return sub(cjson.encode({ text }), 2, -2) end
L.quote = quote
function L.queue_error(code, message, id)
  return quote(cjson.encode({ code = code, message = message, taskId = id }))
end
function L.ending(t, status, finished, body)
  return status .. '\0' .. S(t.run) .. '\0' .. S(t.attempt) .. '\0' .. finished .. '\0\0' .. body
end
function L.error_body(t) return t.x.er and 'j' .. t.x.er or '' end
-- The queue ends a task by itself: it stays, in its terminal state, until its outcome is recorded.
function L.decide(t, state, err)
  L.unplace(t)
  local had = t.slot
  t.state, t.slot = state, false
  t.x.un, t.x.fa, t.x.sl = '1', NOW, nil
  if err then t.x.er = err end
  if t.cancelling then t.x.ca = '1' end
  L.save(t)
  call('ZADD', P .. 'u', NOW, L.member(t))
  add(Q, 'u' .. t.queue, 1)
  if state == 'f' then call('ZADD', P .. 'f:' .. t.queue, NOW, L.member(t)) end
  L.leave_group(t, had)
end
function L.fail_dependent(t, parent, status)
  L.decide(t, 'f', L.queue_error('OMNIQ_DEPENDENCY_FAILED',
    'The task "' .. parent .. '", on which this one depends, ended as ' .. statuses[status], parent))
end
function L.unblock(t)
  call('ZREM', P .. 'b:' .. t.queue, L.member(t))
  if tonumber(t.at) <= now then t.x.ra = NOW end
  L.place(t)
end
function L.tell(id, ending)
  local key = P .. 'o:' .. id
  local open = call('ZRANGE', key, 0, -1)
  if #open == 0 then return end
  call('DEL', key)
  local status = sub(ending, 1, 1)
  for _, edge in ipairs(open) do
    local cseq, position, cid = sub(edge, 1, 12), S(tonumber(sub(edge, 13, 18)) or 0), sub(edge, 19)
    local t = L.load(cid, nil, cseq)
    if t and t.seq == cseq and t.x.pe then
      local known = call('HGET', P .. 'c:' .. cseq, position)
      local parent, fails = match(known or '', '^([^%z]+)%z(.)')
      if not parent then parent, fails = id, 'f' end
      call('HSET', P .. 'c:' .. cseq, position, parent .. '\0' .. fails .. '\0' .. ending)
      t.x.pe = S(math.max(0, tonumber(t.x.pe) - 1))
      if t.state ~= 'b' then
        if t.state ~= 'a' then L.save(t) end
      elseif status ~= 'c' and fails == 'f' then L.fail_dependent(t, id, status)
      elseif t.x.pe == '0' then L.unblock(t)
      else L.save(t) end
    end
  end
end
-- Keys of deduplication: held by a task while it lives, or for a window.
function L.holder(queue, key)
  local line = call('HGET', P .. 'dk', queue .. '\0' .. key)
  if not line then return nil end
  local till, id = match(line, '^([^%z]+)%z(.*)$')
  if not till or (till ~= '-' and (tonumber(till) or 0) <= now) then return nil end
  -- Who is over holds nothing outside of a window; who passed its expiry before its start holds nothing at all.
  local t = L.load(id, queue)
  if t and (t.state == 'e' or (t.x.ea and not t.x.sa and L.waits(t) and tonumber(t.x.ea) <= now)) then return nil end
  if till == '-' and (not t or find('fce', t.state, 1, true)) then return nil end
  return id, till
end
function L.take_key(queue, key, id, window)
  local field = queue .. '\0' .. key
  local till = window and S(now + tonumber(window)) or '-'
  call('HSET', P .. 'dk', field, till .. '\0' .. id)
  if window then bucket(tonumber(till), 'k' .. field) end
end
function L.release_key(t)
  if not t.x.dk then return end
  local field = t.queue .. '\0' .. t.x.dk
  if call('HGET', P .. 'dk', field) == '-\0' .. t.id then call('HDEL', P .. 'dk', field) end
end
function L.settled(token, id, op)
  local till = now + 600000
  call('HSET', P .. 's', token, op .. S(till) .. '\0' .. id)
  bucket(till, 's' .. token)
end
function L.was_settled(token, id, op)
  local rec = call('HGET', T, id)
  local state = rec and sub(rec, 1, 1)
  if state == 'R' then
    local status, finished, known = match(rec, '^.............[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z(.)%z(%d+)%z[^%z]+%z[^%z]+%z([^%z]+)')
    if status and known == token and status == op and tonumber(finished) + 600000 > now then return true end
  elseif state == 'G' then
    local known, status, finished = match(rec, '^G[^%z]+%z([^%z]+)%z(.)%z(%d+)')
    if status and known == token and status == op and tonumber(finished) + 600000 > now then return true end
  end
  local line = call('HGET', P .. 's', token)
  if not line then return false end
  local status, till, owner = match(line, '^(.)(%d+)%z(.*)$')
  return status ~= nil and status == op and owner == id and tonumber(till) > now
end
function L.remember(id, rem, token, op, finished)
  local gone = rem
  if token ~= '-' and tonumber(finished) + 600000 > gone then gone = tonumber(finished) + 600000 end
  if gone <= now then
    call('HDEL', T, id)
    return
  end
  call('HSET', T, id, 'G' .. S(rem) .. '\0' .. token .. '\0' .. op .. '\0' .. finished)
  bucket(gone, 'g' .. id)
end
-- Takes it out of those that wait for what it depends on.
function L.unlink(t)
  local key = P .. 'c:' .. t.seq
  local edges = call('HGETALL', key)
  for i = 1, #edges, 2 do
    local parent, open = match(edges[i + 1], '^([^%z]+)%z.%z(.)')
    if open == '-' then call('ZREM', P .. 'o:' .. parent, t.seq .. format('%06d', tonumber(edges[i]) or 0) .. t.id) end
  end
  if #edges > 0 then call('DEL', key) end
end
-- Takes a task out of the queue; its id stays known, unless it is freed.
function L.leave(t, token, op, freed)
  L.unplace(t)
  if freed then call('HDEL', T, t.id)
  else L.remember(t.id, now + tonumber(t.rem), token or '-', op or '-', NOW) end
  if t.x.dn then L.unlink(t) end
  L.release_key(t)
  L.leave_group(t, t.slot)
end
function L.remove(t, freed)
  local failed = t.state == 'f'
  L.leave(t, nil, nil, freed)
  L.tell(t.id, L.ending(t, failed and 'f' or 'x', NOW, L.error_body(t)))
end
function L.recorded(t)
  call('ZREM', P .. 'u', L.member(t))
  if add(Q, 'u' .. t.queue, -1) <= 0 then call('HDEL', Q, 'u' .. t.queue) end
  t.x.un = nil
  local status = t.state == 'c' and 'x' or t.state
  local finished = t.x.fa
  if t.state == 'f' then
    L.save(t)
    L.release_key(t)
  else L.leave(t) end
  L.tell(t.id, L.ending(t, status, finished, L.error_body(t)))
end
`;

/** Results: in the record of a task that is over, or in a hash of their own. */
export const results: string = String.raw`
-- A result that cannot be read is shown, as failed, until it is deleted or put anew.
local function unreadable(rec)
  return not find(rec, '^R%x%x%x%x%x%x%x%x%x%x%x%x%d+%z%d+%z[^%z]+%z[^%z]+%z[cfxe]%z%d+%z[%d-]+%z%d+%z[^%z]+%z%z')
end
local function run_of(rec) return tonumber(match(rec, '^.............(%d+)') or nil) or 0 end
local function result_expired(rec)
  local expires = match(rec, '^.............[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z.%z%d+%z([^%z]+)')
  -- What cannot be read is shown as it is, until somebody deletes it.
  return expires ~= nil and expires ~= '-' and (tonumber(expires) or now + 1) <= now
end
local function result_of(id, rec, other)
  if rec and sub(rec, 1, 1) == 'R' and not result_expired(rec) then return rec end
  if other and not result_expired(other) then return other end
  return nil
end
-- The record of a task that is over without its result, which went elsewhere or is not kept.
local function forget_result(id, rec)
  local status, finished, rem, token = match(rec, '^.............[^%z]+%z[^%z]+%z[^%z]+%z[^%z]+%z(.)%z(%d+)%z[^%z]+%z(%d+)%z([^%z]+)')
  if not status then
    call('HDEL', T, id)
    return
  end
  local gone = tonumber(rem)
  if tonumber(finished) + 600000 > gone then gone = tonumber(finished) + 600000 end
  if gone <= now then call('HDEL', T, id)
  else
    call('HSET', T, id, 'G' .. rem .. '\0' .. token .. '\0' .. status .. '\0' .. finished)
    bucket(gone, 'g' .. id)
  end
end
-- fields: run NUL attempt NUL name NUL queue NUL status NUL finished. Gives the result that stands, and whether it is the new one.
local function put_result(id, run, fields, finished, ttl, body, number)
  local rec, other = call('HGET', T, id), call('HGET', P .. 'r', id)
  local stands = result_of(id, rec, other)
  if stands and run_of(stands) >= run then return stands, false end
  if rec and sub(rec, 1, 1) == 'R' then forget_result(id, rec) end
  local expires = '-'
  if ttl ~= '-' then expires = S(tonumber(finished) + tonumber(ttl)) end
  local seq12 = format('%012x', number)
  local made = 'R' .. seq12 .. fields .. '\0' .. finished .. '\0' .. expires .. '\0' .. '0\0-\0\0' .. body
  call('HSET', P .. 'r', id, made)
  if expires == '-' then call('RPUSH', P .. 'x:inf', 'r' .. seq12 .. id)
  else bucket(tonumber(expires), 'r' .. seq12 .. id) end
  return made, true
end
`;
