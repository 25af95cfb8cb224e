-- retry.timeout, on each try: after the time, what comes is the answer. Context: milliseconds.
-- The router sends nothing again whose answer has x-envoy-ratelimited. Of a try that met an error of the network no answer is
-- seen here: another one after the time is answered before it is sent.

local KEPT = "sampan.retry"

function envoy_on_request(handle)
  local kept = handle:streamInfo():dynamicMetadata()
  local mine = kept:get(KEPT)
  local now = handle:timestamp()
  if mine == nil then
    kept:set(KEPT, "until", now + tonumber(handle:filterContext():get("milliseconds")))
  elseif now >= mine["until"] and not mine["answered"] then
    local headers = {[":status"] = "503", ["content-type"] = "text/plain", ["x-envoy-ratelimited"] = "true"}
    handle:respond(headers, "no backend was reached in the time for retries\n")
    return
  end
  kept:set(KEPT, "answered", false)
end

function envoy_on_response(handle)
  local kept = handle:streamInfo():dynamicMetadata()
  kept:set(KEPT, "answered", true)
  if handle:timestamp() >= kept:get(KEPT)["until"] then
    handle:headers():replace("x-envoy-ratelimited", "true")
  end
end
