-- circuitBreaker: while what backends answer fits an expression, they are not asked.
-- Before this stand: broken(m), the expression over the measures m; PERIOD, FALLBACK, RECOVERY in milliseconds; CODE.
-- closed -> (the expression is true) -> open for FALLBACK -> lets in more and more for RECOVERY -> closed.

local KEPT = "sampan.circuit"
local SECONDS = 10
local state, since, checked = "closed", 0, 0
local buckets = {}

local function forget()
  buckets = {}
end

local function bucket(now)
  local second = math.floor(now / 1000)
  local found = buckets[second]
  if not found then
    found = {codes = {}, latencies = {}, all = 0, broken = 0}
    buckets[second] = found
    for old in pairs(buckets) do
      if old <= second - SECONDS then
        buckets[old] = nil
      end
    end
  end
  return found
end

local function total(of)
  local sum = 0
  for _, one in pairs(buckets) do
    sum = sum + of(one)
  end
  return sum
end

local function within(first, last)
  return total(function(one)
    local sum = 0
    for code, count in pairs(one.codes) do
      if code >= first and code < last then
        sum = sum + count
      end
    end
    return sum
  end)
end

local measures = {}

function measures.network_error_ratio()
  local all = total(function(one) return one.all end)
  return all == 0 and 0 or total(function(one) return one.broken end) / all
end

function measures.response_code_ratio(first, last, among_first, among_last)
  local among = within(among_first, among_last)
  return among == 0 and 0 or within(first, last) / among
end

function measures.latency_at_quantile_ms(quantile)
  local counts, all = {}, 0
  for _, one in pairs(buckets) do
    for latency, count in pairs(one.latencies) do
      counts[latency] = (counts[latency] or 0) + count
      all = all + count
    end
  end
  local latencies = {}
  for latency in pairs(counts) do
    latencies[#latencies + 1] = latency
  end
  table.sort(latencies)
  local passed = 0
  for _, latency in ipairs(latencies) do
    passed = passed + counts[latency]
    if passed * 100 >= quantile * all then
      return latency
    end
  end
  return 0
end

local function become(new, now)
  state, since = new, now
  forget()
end

function envoy_on_request(handle)
  local now = handle:timestamp()
  if state == "open" and now - since >= FALLBACK then
    become("recovering", now)
  elseif state == "recovering" and now - since >= RECOVERY then
    become("closed", now)
  end
  if state == "open" or (state == "recovering" and math.random() > (now - since) / RECOVERY) then
    handle:respond({[":status"] = CODE, ["content-type"] = "text/plain"}, "the backend is not asked: too much went wrong\n")
    return
  end
  handle:streamInfo():dynamicMetadata():set(KEPT, "began", now)
end

-- as fine as a hundredth: so that few are counted
local function rounded(latency)
  local step = 10 ^ math.max(0, math.floor(math.log10(math.max(1, latency))) - 1)
  return math.floor(latency / step) * step
end

function envoy_on_response(handle)
  local kept = handle:streamInfo():dynamicMetadata():get(KEPT)
  if kept == nil then
    return
  end
  local now = handle:timestamp()
  local code = tonumber(handle:headers():get(":status"))
  local here = bucket(now)
  local latency = rounded(now - kept["began"])
  here.all = here.all + 1
  here.codes[code] = (here.codes[code] or 0) + 1
  here.latencies[latency] = (here.latencies[latency] or 0) + 1
  if code == 502 or code == 503 or code == 504 then
    here.broken = here.broken + 1
  end
  if state ~= "open" and now - checked >= PERIOD then
    checked = now
    if broken(measures) then
      become("open", now)
    end
  end
end
