-- cache: answers that may be used again are, without the backend. Source: RFC 9111 (a shared cache), RFC 9110, RFC 9211.
-- Before this stands MOST_BYTES, how much this cache may hold. Context: body (most bytes of one), ttl (seconds an answer of 200
-- is fresh that says nothing of it), status (name of the header that tells what happened; absent: none), route (whose answers
-- these are: the same URL may be another backend's for other headers).

local KEPT = "sampan.cache"
-- statuses that may be kept where they say for how long (RFC 9110, 15.1)
local STORABLE = {["200"] = true, ["203"] = true, ["204"] = true, ["300"] = true, ["301"] = true, ["308"] = true,
  ["404"] = true, ["405"] = true, ["410"] = true, ["414"] = true, ["501"] = true}
-- of one connection, or of this one answer: not kept (RFC 9110, 7.6.1)
local NOT_KEPT = {connection = true, ["keep-alive"] = true, ["proxy-connection"] = true, te = true, trailer = true,
  ["transfer-encoding"] = true, upgrade = true, ["proxy-authenticate"] = true, ["proxy-authentication-info"] = true,
  age = true, ["content-length"] = true, ["x-envoy-upstream-service-time"] = true}
local MONTHS = {Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6, Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12}
local EACH_BYTES = 512 -- what an entry costs besides its content

-- route and URL -> the names of headers that its answers vary by, and the answers by what those headers say
local resources = {}
-- URL -> the keys of its resources
local keys = {}
local bytes = 0
-- entries from the one used last to the one used longest ago
local newest = {}
local oldest = {newer = newest}
newest.older = oldest

local function unlink(entry)
  entry.newer.older, entry.older.newer = entry.older, entry.newer
end

local function touch(entry)
  if entry.newer then
    unlink(entry)
  end
  entry.older, entry.newer = newest.older, newest
  newest.older.newer, newest.older = entry, entry
end

local function drop(entry)
  unlink(entry)
  bytes = bytes - entry.size
  local resource = resources[entry.key]
  resource.variants[entry.variant] = nil
  if next(resource.variants) == nil then
    resources[entry.key] = nil
    keys[entry.url][entry.key] = nil
    if next(keys[entry.url]) == nil then
      keys[entry.url] = nil
    end
  end
end

-- drop all that is kept of a URL, whatever route it is of
local function forget(url)
  local entries = {}
  for key in pairs(keys[url] or {}) do
    for _, entry in pairs(resources[key].variants) do
      entries[#entries + 1] = entry
    end
  end
  for _, entry in ipairs(entries) do
    drop(entry)
  end
end

local function keep(entry)
  local resource = resources[entry.key]
  if resource == nil or resource.vary ~= entry.vary then
    for _, other in pairs(resource and resource.variants or {}) do
      unlink(other)
      bytes = bytes - other.size
    end
    resource = {vary = entry.vary, variants = {}}
    resources[entry.key] = resource
    keys[entry.url] = keys[entry.url] or {}
    keys[entry.url][entry.key] = true
  end
  local before = resource.variants[entry.variant]
  if before then
    unlink(before)
    bytes = bytes - before.size
  end
  resource.variants[entry.variant] = entry
  bytes = bytes + entry.size
  touch(entry)
  while bytes > MOST_BYTES do
    drop(oldest.newer)
  end
end

local function trimmed(text)
  return text:match("^%s*(.-)%s*$")
end

-- directives of a Cache-Control: name -> argument, or true
local function directives_of(text)
  local found = {}
  for name, rest in (text or ""):gmatch('([^%s,=]+)([^,]*)') do
    local argument = rest:match('^%s*=%s*"?([^"]*)"?%s*$')
    found[name:lower()] = argument and trimmed(argument) or true
  end
  return found
end

local function seconds(argument)
  return type(argument) == "string" and tonumber(argument:match("^%d+$") or "") or nil
end

-- seconds since 1970 of a date of HTTP; nil: it is none
local function time_of(text)
  local day, name, year, hour, minute, second = (text or ""):match("^%a+, (%d%d) (%a%a%a) (%d%d%d%d) (%d%d):(%d%d):(%d%d) GMT$")
  local month = MONTHS[name]
  if not month then
    return nil
  end
  local y = tonumber(year) - (month <= 2 and 1 or 0)
  local era = math.floor(y / 400)
  local of_era = y - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + tonumber(day) - 1
  local days = era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
  return days * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

local function url_of(headers)
  return headers:get(":scheme") .. "://" .. headers:get(":authority"):lower() .. headers:get(":path")
end

-- what a request says in the headers that an answer varies by
local function variant_of(vary, headers)
  local parts = {}
  for name in vary:gmatch("[^,]+") do
    parts[#parts + 1] = headers:get(name) or "\0"
  end
  return table.concat(parts, "\1")
end

-- the names of a Vary, in order; nil: it varies by anything
local function vary_of(text)
  local names = {}
  for name in (text or ""):lower():gmatch("[^,%s]+") do
    if name == "*" then
      return nil
    end
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ",")
end

local function age_of(entry, now)
  return entry.age + math.floor(now - entry.at)
end

-- whether a validator of the client is the entry's (RFC 9110, 13.1.2 and 13.1.3)
local function is_known(entry, none_match, modified_since)
  if none_match then
    if trimmed(none_match) == "*" then
      return true
    end
    local own = entry.etag and entry.etag:gsub("^W/", "")
    for tag in none_match:gmatch('[Ww]?/?"[^"]*"') do
      if tag:gsub("^[Ww]/", "") == own then
        return true
      end
    end
    return false
  end
  local since, modified = time_of(modified_since), time_of(entry.modified)
  return since ~= nil and modified ~= nil and modified <= since
end

local function told(context, text)
  return context:get("status") and {context:get("status"), "sampan; " .. text} or nil
end

local function answer(handle, entry, now, head, text, none_match, modified_since)
  local known = entry.status == "200" and is_known(entry, none_match, modified_since)
  local headers = {[":status"] = known and "304" or entry.status, age = tostring(age_of(entry, now))}
  for _, pair in ipairs(entry.headers) do
    if not known or (pair[1] ~= "content-type" and pair[1] ~= "content-encoding") then
      local before = headers[pair[1]]
      if before == nil then
        headers[pair[1]] = pair[2]
      elseif type(before) == "table" then
        before[#before + 1] = pair[2]
      else
        headers[pair[1]] = {before, pair[2]}
      end
    end
  end
  local status = told(handle:filterContext(), text)
  if status then
    headers[status[1]] = status[2]
  end
  touch(entry)
  handle:respond(headers, (known or entry.status == "204") and "" or entry.body)
end

-- whether an entry may be used without asking the backend, by what the request says (RFC 9111, 4.2 and 5.2.1)
local function may_use(entry, asked, now)
  if entry.checked or asked["no-cache"] then
    return false
  end
  local age, most = age_of(entry, now), seconds(asked["max-age"])
  local left = entry.lifetime - age
  if most and age > most then
    return false
  end
  if left > 0 then
    return left >= (seconds(asked["min-fresh"]) or 0)
  end
  local stale = asked["max-stale"]
  return stale ~= nil and not entry.strict and (stale == true or -left <= (seconds(stale) or -1))
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local method = headers:get(":method")
  local kept = handle:streamInfo():dynamicMetadata()
  local url = url_of(headers)
  if method ~= "GET" and method ~= "HEAD" then
    if method ~= "OPTIONS" and method ~= "TRACE" then
      kept:set(KEPT, "changes", url)
    end
    return
  end
  if headers:get("range") or headers:get("upgrade") or headers:get("if-match") or headers:get("if-unmodified-since")
    or headers:get("if-range") then
    return
  end
  local asked = directives_of(headers:get("cache-control"))
  if headers:get("cache-control") == nil and (headers:get("pragma") or ""):lower():find("no-cache", 1, true) then
    asked["no-cache"] = true
  end
  local now = handle:timestamp() / 1000
  local key = handle:filterContext():get("route") .. " " .. url
  local resource = resources[key]
  local entry = resource and resource.variants[variant_of(resource.vary, headers)]
  local none_match, modified_since = headers:get("if-none-match"), headers:get("if-modified-since")
  if entry and (method == "GET" or entry.status ~= "204") and may_use(entry, asked, now) then
    answer(handle, entry, now, method == "HEAD", "hit; ttl=" .. (entry.lifetime - age_of(entry, now)), none_match, modified_since)
    return
  end
  if asked["only-if-cached"] then
    handle:respond({[":status"] = "504", ["content-type"] = "text/plain"}, "it is not in the cache\n")
    return
  end
  if method == "HEAD" then
    return
  end
  kept:set(KEPT, "url", url)
  kept:set(KEPT, "key", key)
  kept:set(KEPT, "began", now)
  kept:set(KEPT, "no_store", asked["no-store"] ~= nil)
  kept:set(KEPT, "authorized", headers:get("authorization") ~= nil)
  kept:set(KEPT, "forwarded", entry and (asked["no-cache"] and "request" or "stale") or resource and "vary-miss" or "uri-miss")
  -- an answer is kept by what the client asked, not by what comes after us
  local sent = {}
  for name, value in pairs(headers) do
    if name:sub(1, 1) ~= ":" then
      sent[name] = sent[name] and sent[name] .. "," .. value or value
    end
  end
  kept:set(KEPT, "headers", sent)
  if entry and not none_match and not modified_since and (entry.etag or entry.modified) then
    kept:set(KEPT, "validated", resource.vary .. "\2" .. entry.variant)
    if entry.etag then
      headers:replace("if-none-match", entry.etag)
    end
    if entry.modified then
      headers:replace("if-modified-since", entry.modified)
    end
  end
end

-- how long an answer is fresh (RFC 9111, 4.2.1), in seconds; nil: it does not say
local function lifetime_of(headers, said, now)
  local lasts = seconds(said["s-maxage"]) or seconds(said["max-age"])
  if lasts or said["s-maxage"] or said["max-age"] then
    return lasts or 0
  end
  local expires = headers:get("expires")
  if expires then
    return math.max(0, (time_of(expires) or 0) - (time_of(headers:get("date")) or now))
  end
  return nil
end

-- the entry that an answer becomes, without a body yet; nil: it is not kept (RFC 9111, 3)
local function entry_of(handle, request, now)
  local headers, context = handle:headers(), handle:filterContext()
  local status, said = headers:get(":status"), directives_of(headers:get("cache-control"))
  local vary = vary_of(headers:get("vary"))
  local lifetime = lifetime_of(headers, said, now)
  if lifetime == nil and status == "200" and not said["no-cache"] then
    lifetime = tonumber(context:get("ttl"))
    lifetime = lifetime > 0 and lifetime or nil
  end
  local etag, modified = headers:get("etag"), headers:get("last-modified")
  local validated = etag ~= nil or modified ~= nil
  if request["no_store"] or said["no-store"] or said["private"] or vary == nil or not STORABLE[status]
    or headers:get("set-cookie") or headers:get("content-range") or not (lifetime or (said["no-cache"] and validated))
    or (lifetime == 0 and not validated)
    or (request["authorized"] and not (said["public"] or said["s-maxage"] or said["must-revalidate"])) then
    return nil
  end
  local waited = math.max(0, now - request["began"])
  local entry = {url = request["url"], key = request["key"], vary = vary, status = status, headers = {}, at = now, etag = etag, modified = modified,
    lifetime = lifetime or 0, age = math.floor((seconds(headers:get("age")) or 0) + waited), checked = said["no-cache"] ~= nil,
    strict = said["must-revalidate"] ~= nil or said["proxy-revalidate"] ~= nil or said["s-maxage"] ~= nil,
    if_error = seconds(said["stale-if-error"])}
  local size = EACH_BYTES + #entry.url
  for name, value in pairs(headers) do
    if name:sub(1, 1) ~= ":" and not NOT_KEPT[name] then
      entry.headers[#entry.headers + 1] = {name, value}
      size = size + #name + #value + 32
    end
  end
  entry.size = size
  local sent = request["headers"] or {}
  entry.variant = variant_of(vary, {get = function(_, name) return sent[name] end})
  entry.size = entry.size + #entry.variant
  return entry
end

-- let the client have an entry in the place of the backend's answer
local function replace(handle, entry, now, text)
  local headers = handle:headers()
  local gone = {}
  for name in pairs(headers) do
    if name:sub(1, 1) ~= ":" and name ~= "date" and name ~= "server" then
      gone[#gone + 1] = name
    end
  end
  for _, name in ipairs(gone) do
    headers:remove(name)
  end
  for _, pair in ipairs(entry.headers) do
    if pair[1] ~= "date" and pair[1] ~= "server" then
      headers:add(pair[1], pair[2])
    end
  end
  headers:replace(":status", entry.status)
  headers:replace("age", tostring(age_of(entry, now)))
  local status = told(handle:filterContext(), text)
  if status then
    headers:replace(status[1], status[2])
  end
  touch(entry)
  local length = handle:body(true):setBytes(entry.body)
  handle:headers():replace("content-length", tostring(length))
end

local function entry_named(key, name)
  local vary, variant = name:match("^(.-)\2(.*)$")
  local resource = resources[key]
  return resource and resource.vary == vary and resource.variants[variant] or nil
end

-- take over from a 304 what it says anew (RFC 9111, 4.3.4)
local function freshen(handle, entry, request, now)
  local headers = handle:headers()
  local fresh = {}
  for name, value in pairs(headers) do
    if name:sub(1, 1) ~= ":" and not NOT_KEPT[name] and not name:find("^content%-") then
      fresh[name] = value
    end
  end
  local merged = {}
  for _, pair in ipairs(entry.headers) do
    if fresh[pair[1]] == nil then
      merged[#merged + 1] = pair
    end
  end
  for name, value in pairs(fresh) do
    merged[#merged + 1] = {name, value}
  end
  entry.headers = merged
  local said = {}
  for _, pair in ipairs(merged) do
    said[pair[1]] = pair[2]
  end
  local stored = {get = function(_, name) return said[name] end}
  local directives = directives_of(said["cache-control"])
  entry.lifetime = lifetime_of(stored, directives, now) or tonumber(handle:filterContext():get("ttl"))
  entry.at, entry.age = now, math.floor((seconds(headers:get("age")) or 0) + math.max(0, now - request["began"]))
  entry.checked = directives["no-cache"] ~= nil
end

function envoy_on_response(handle)
  local request = handle:streamInfo():dynamicMetadata():get(KEPT)
  if request == nil then
    return
  end
  local headers, now = handle:headers(), handle:timestamp() / 1000
  local status = tonumber(headers:get(":status"))
  if request["changes"] then
    if status < 400 then
      forget(request["changes"])
    end
    return
  end
  local forwarded = "fwd=" .. request["forwarded"]
  local before = request["validated"] and entry_named(request["key"], request["validated"])
  if before and status == 304 then
    freshen(handle, before, request, now)
    replace(handle, before, now, forwarded .. "; fwd-status=304")
    return
  end
  if before and status >= 500 and before.if_error and not before.strict
    and age_of(before, now) - before.lifetime <= before.if_error then
    replace(handle, before, now, "hit; detail=stale-if-error")
    return
  end
  local entry, most = entry_of(handle, request, now), tonumber(handle:filterContext():get("body"))
  local length = tonumber(headers:get("content-length") or "")
  if entry and length and length > most then
    entry = nil
  end
  local said = told(handle:filterContext(), forwarded .. "; fwd-status=" .. status .. (entry and "; stored" or ""))
  if said then
    headers:replace(said[1], said[2])
  end
  if not entry then
    return
  end
  local pieces, size = {}, 0
  for chunk in handle:bodyChunks() do
    if pieces and chunk:length() > 0 then
      size = size + chunk:length()
      if size > most then
        pieces = nil
      else
        pieces[#pieces + 1] = chunk:getBytes(0, chunk:length())
      end
    end
  end
  if pieces and (not length or length == size) then
    entry.body = table.concat(pieces)
    entry.size = entry.size + size
    if entry.size <= MOST_BYTES then
      keep(entry)
    end
  end
end
