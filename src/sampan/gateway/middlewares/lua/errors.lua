-- errors: an answer of some statuses gets the page of another Service.
-- Context: statuses (status -> true), rewrites (status -> status), query, cluster, host (absent: the client's), headers
-- (name -> true; absent: all).

local NOT_COPIED = {["content-length"] = true, ["transfer-encoding"] = true, connection = true, upgrade = true,
  ["x-envoy-upstream-service-time"] = true}
local KEPT = "sampan.errors"

function envoy_on_request(handle)
  local allowed = handle:filterContext():get("headers")
  local headers = handle:headers()
  local sent = {}
  for name, value in pairs(headers) do
    if name:sub(1, 1) ~= ":" and not NOT_COPIED[name] and (allowed == nil or allowed[name]) then
      sent[name] = value
    end
  end
  local kept = handle:streamInfo():dynamicMetadata()
  kept:set(KEPT, "headers", sent)
  local host = headers:get(":authority") or ""
  kept:set(KEPT, "host", host)
  kept:set(KEPT, "url", (headers:get("x-forwarded-proto") or "http") .. "://" .. host .. headers:get(":path"))
  kept:set(KEPT, "method", headers:get(":method"))
end

local function escaped(text)
  return (text:gsub("[^%w%-_%.~]", function(one) return string.format("%%%02X", one:byte()) end))
end

local function filled(template, values)
  return (template:gsub("{(%a+)}", values))
end

function envoy_on_response(handle)
  local told = handle:filterContext()
  local headers = handle:headers()
  local status = headers:get(":status")
  local request = handle:streamInfo():dynamicMetadata():get(KEPT)
  if request == nil or not told:get("statuses")[status] then
    return
  end
  local rewritten = (told:get("rewrites") or {})[status] or status
  local path = filled(told:get("query"), {status = rewritten, originalStatus = status, url = escaped(request["url"])})
  local asked = {[":method"] = "GET", [":path"] = path, [":authority"] = told:get("host") or request["host"]}
  for name, value in pairs(request["headers"] or {}) do
    asked[name] = value
  end
  local cluster = told:get("cluster")
  local with_body = request["method"] ~= "HEAD"
  if with_body then
    handle:body(true) -- what is not waited for before the call has passed after it
  end
  local page_headers, page = handle:httpCall(cluster, asked, "", 10000)
  headers = handle:headers() -- what was got of the handle before a wait is no more good after it
  headers:replace(":status", rewritten)
  if tonumber(page_headers[":status"]) >= 500 then
    return
  end
  for _, name in ipairs({"content-length", "content-encoding", "content-type",
    "etag", "last-modified", "transfer-encoding"}) do
    headers:remove(name)
  end
  for name, value in pairs(page_headers) do
    if name:sub(1, 1) ~= ":" and not NOT_COPIED[name] then
      headers:replace(name, value)
    end
  end
  if with_body then
    local length = handle:body(true):setBytes(page or "")
    handle:headers():replace("content-length", tostring(length))
  end
end
