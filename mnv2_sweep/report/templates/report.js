// Draws the figures of the report with D3 (global d3), and lets the table be sorted and filtered. What a network is
// called and what it costs comes from the JSON block "data" and from the table; all of it is put in as text.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const known = (value) => value !== null && value !== undefined;
  const places = d3.range(data.networks.length);
  const rows = [...document.querySelectorAll("#table tbody tr")]; // as the networks, before any sorting
  const kinds = [...new Set(data.networks.map((one) => one.kind))];
  const symbols = [d3.symbolCircle, d3.symbolSquare, d3.symbolTriangle, d3.symbolDiamond, d3.symbolStar, d3.symbolWye];
  const HEADING = "h3";
  const shown = { out: new Set(), chosen: data.taken, zoom: d3.zoomIdentity };

  const number = (quantity, value) =>
    known(value) ? value.toLocaleString("en", { minimumFractionDigits: quantity.digits, maximumFractionDigits: quantity.digits }) : "-";
  const amount = (quantity, value) => number(quantity, value) + (known(value) && quantity.unit ? ` ${quantity.unit}` : "");
  const described = (quantity, at) => {
    const text = `${quantity.label} ${amount(quantity, quantity.values[at])}`;
    if (!quantity.low || !known(quantity.low[at])) return text;
    return `${text} (${number(quantity, quantity.low[at])} to ${number(quantity, quantity.high[at])})`;
  };

  // ---------------------------------------------------------------- the front

  const cost = () => data.costs.find((one) => one.name === by("cost").value);
  const score = () => data.scores.find((one) => one.name === by("score").value);

  function extent(quantity, drawn, intervals) {
    const values = drawn.flatMap((at) => [
      quantity.values[at],
      ...(intervals && quantity.low && known(quantity.low[at]) ? [quantity.low[at], quantity.high[at]] : []),
    ]);
    return d3.extent(values);
  }

  function frame(holder, width, height, margin, label) {
    if (!holder.querySelector("svg")) holder.replaceChildren(document.createElementNS("http://www.w3.org/2000/svg", "svg"));
    const svg = d3.select(holder).select("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("role", "group").attr("aria-label", label);
    svg.selectChildren("*").remove(); // the element itself stays: a drag in mid-course is its own
    svg.append("clipPath").attr("id", `${holder.id}-clip`).append("rect")
      .attr("x", margin.left).attr("y", margin.top)
      .attr("width", width - margin.left - margin.right).attr("height", height - margin.top - margin.bottom);
    return svg;
  }

  function axes(svg, x, y, width, height, margin, titles, format) {
    const across = Math.max(3, Math.floor((width - margin.left - margin.right) / 70));
    const down = Math.max(3, Math.floor((height - margin.top - margin.bottom) / 50));
    const ticks = logTicks(x, across);
    svg.append("g").attr("class", "grid").attr("aria-hidden", "true").attr("transform", `translate(0,${height - margin.bottom})`)
      .call(d3.axisBottom(x).tickValues(ticks).tickSize(-(height - margin.top - margin.bottom)).tickFormat(""));
    svg.append("g").attr("class", "grid").attr("aria-hidden", "true").attr("transform", `translate(${margin.left},0)`)
      .call(d3.axisLeft(y).ticks(down).tickSize(-(width - margin.left - margin.right)).tickFormat(""));
    svg.append("g").attr("class", "axis").attr("aria-hidden", "true").attr("transform", `translate(0,${height - margin.bottom})`)
      .call(d3.axisBottom(x).tickValues(ticks).tickFormat(format));
    svg.append("g").attr("class", "axis").attr("aria-hidden", "true").attr("transform", `translate(${margin.left},0)`).call(d3.axisLeft(y).ticks(down));
    svg.append("text").attr("x", width - margin.right).attr("y", height - 6).attr("text-anchor", "end").text(titles[0]);
    svg.append("text").attr("x", 4).attr("y", 15).text(titles[1]);
  }

  // Round numbers between the ends of a logarithmic axis, as many as have room; those of a linear one are D3's.
  function logTicks(x, most) {
    if (!x.base) return x.ticks(most);
    const [low, high] = x.domain();
    const steps = [[1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9], [1, 1.5, 2, 3, 4, 5, 7], [1, 2, 3, 5], [1, 2, 5], [1, 3], [1]];
    const powers = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
    const all = steps.map((some) => powers.flatMap((power) => some.map((step) => step * 10 ** power)).filter((one) => one >= low && one <= high));
    const found = all.find((some) => some.length <= most) || all[all.length - 1];
    return found.length > 1 ? found : d3.ticks(low, high, Math.min(most, 5));
  }

  function pareto() {
    const c = cost(), s = score(), intervals = by("bars").checked, holder = by("plot");
    const drawn = places.filter((at) => known(c.values[at]) && known(s.values[at]));
    const fronts = data.fronts[`${c.name} ${s.name}`];
    const on = new Set(fronts.flat());
    const width = Math.max(320, holder.clientWidth), narrow = width < 560;
    const height = Math.round(Math.min(560, Math.max(380, width * 0.62)));
    const margin = { top: 28, right: 18, bottom: 48, left: narrow ? 44 : 52 };
    const limits = data.limits.filter((one) => one.cost === c.name);
    const [low, high] = d3.extent([...extent(c, drawn, false), ...limits.map((one) => one.value).filter((one) => one > 0)]);
    const [least, most] = extent(s, drawn, intervals);
    const pad = (most - least || 1) * 0.06;
    const x0 = d3.scaleLog().domain([low / 1.15, high * 1.15]).range([margin.left, width - margin.right]);
    const y0 = d3.scaleLinear().domain([least - pad, most + pad]).range([height - margin.bottom, margin.top]);
    const x = shown.zoom.rescaleX(x0), y = shown.zoom.rescaleY(y0);
    const label = `${s.title} against ${c.title}, ${drawn.length} networks; arrow keys go from one to the next`;
    const svg = frame(holder, width, height, margin, label);
    axes(svg, x, y, width, height, margin, [`${c.title}, log scale`, s.title], (value) => value.toLocaleString("en", { maximumSignificantDigits: 3 }));
    const plot = svg.append("g").attr("clip-path", "url(#plot-clip)");

    for (const one of limits) {
      const at = x(one.value);
      const [from, to] = one.upper ? [at, width - margin.right] : [margin.left, at];
      plot.append("rect").attr("class", "beyond").attr("x", Math.min(from, to)).attr("width", Math.max(0, to - from)).attr("y", margin.top).attr("height", height - margin.top - margin.bottom);
      plot.append("line").attr("class", "limit").attr("x1", at).attr("x2", at).attr("y1", margin.top).attr("y2", height - margin.bottom);
      plot.append("text").attr("class", "limit-text halo").attr("x", at + (one.upper ? -5 : 5)).attr("y", height - margin.bottom - 8).attr("text-anchor", one.upper ? "end" : "start").text(one.text);
    }
    for (const front of fronts) {
      const line = d3.line().curve(d3.curveStepAfter).x((at) => x(c.values[at])).y((at) => y(s.values[at]));
      plot.append("path").attr("class", "frontline").attr("d", line(front));
    }
    if (intervals) {
      const many = drawn.length > 120;
      const barred = drawn.filter((at) => !many || on.has(at) || at === data.taken || at === shown.chosen);
      const bars = plot.append("g").attr("aria-hidden", "true");
      const bar = (some, x1, x2, y1, y2) => bars.selectAll(null).data(some).join("line").attr("class", "bar")
        .classed("out", (at) => shown.out.has(at)).attr("x1", x1).attr("x2", x2).attr("y1", y1).attr("y2", y2);
      const mid = (at) => x(c.values[at]), level = (at) => y(s.values[at]);
      if (s.low) bar(barred.filter((at) => known(s.low[at])), mid, mid, (at) => y(s.low[at]), (at) => y(s.high[at]));
      if (c.low) bar(barred.filter((at) => known(c.low[at])), (at) => x(c.low[at]), (at) => x(c.high[at]), level, level);
    }
    const order = [...drawn].sort((a, b) => c.values[a] - c.values[b] || a - b);
    const start = order.includes(shown.chosen) ? shown.chosen : order[0];
    const size = drawn.length > 300 ? 34 : 80;
    const dots = plot.append("g").selectAll("g").data(order).join("g")
      .attr("class", "dot").classed("on", (at) => on.has(at)).classed("taken", (at) => at === data.taken)
      .classed("chosen", (at) => at === shown.chosen).classed("out", (at) => shown.out.has(at))
      .attr("transform", (at) => `translate(${x(c.values[at])},${y(s.values[at])})`)
      .attr("role", "button").attr("tabindex", (at) => (at === start ? 0 : -1)).attr("data-at", (at) => at)
      .attr("aria-label", (at) => `${summary(at, c, s, on)}`);
    dots.append("path").attr("d", (at) => d3.symbol(symbols[kinds.indexOf(data.networks[at].kind) % symbols.length], at === data.taken ? size * 2 : size)());
    dots.on("click", (event, at) => choose(at, true)).on("focus", (event, at) => tip(at)).on("blur", () => tip(null))
      .on("keydown", (event, at) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(at, true); }
        const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
        const next = event.key === "Home" ? 0 : event.key === "End" ? order.length - 1 : step ? order.indexOf(at) + step : null;
        if (next === null || !known(order[next])) return;
        event.preventDefault();
        dots.attr("tabindex", (one) => (one === order[next] ? 0 : -1));
        dots.filter((one) => one === order[next]).node().focus();
      });
    dots.filter((at) => at === data.taken || at === shown.chosen).raise();
    labels(plot, order, on, x, y, c, s, margin, width, height, narrow);

    const where = (at) => [x(c.values[at]), y(s.values[at])];
    const nearest = (event) => {
      const [px, py] = d3.pointer(event, svg.node());
      const best = d3.least(order.filter((at) => !shown.out.has(at)), (at) => Math.hypot(where(at)[0] - px, where(at)[1] - py));
      return known(best) && Math.hypot(where(best)[0] - px, where(best)[1] - py) < 36 ? best : null;
    };
    svg.on("pointermove", (event) => tip(nearest(event))).on("pointerleave", () => tip(null))
      .on("click", (event) => { const at = nearest(event); if (known(at)) choose(at, false); });
    function tip(at) {
      const box = by("tip");
      box.hidden = !known(at);
      if (box.hidden) return;
      box.textContent = [data.networks[at].name, described(c, at), described(s, at), on.has(at) ? "on this front" : ""].filter(Boolean).join("\n");
      const ratio = holder.clientWidth / width, [px, py] = where(at);
      box.style.left = `${Math.min(px * ratio + 12, Math.max(0, holder.clientWidth - box.offsetWidth - 4))}px`;
      box.style.top = `${Math.max(0, py * ratio - box.offsetHeight - 12)}px`;
    }

    by("plot-text").textContent = frontText(fronts, c, s, drawn.length);
    zoom.extent([[margin.left, margin.top], [width - margin.right, height - margin.bottom]])
      .translateExtent([[margin.left, margin.top], [width - margin.right, height - margin.bottom]]);
    svg.call(zoom).on("dblclick.zoom", () => svg.call(zoom.transform, d3.zoomIdentity));
  }

  const zoom = d3.zoom().scaleExtent([1, 40])
    .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey : event.type.startsWith("touch") ? event.touches.length > 1 || shown.zoom.k > 1 : !event.button))
    .on("zoom", (event) => { if (event.transform !== shown.zoom) { shown.zoom = event.transform; pareto(); } });

  const summary = (at, c, s, on) => [data.networks[at].name, described(c, at), described(s, at), on.has(at) ? "on this front" : "not on this front", at === data.taken ? "the one to take" : ""].filter(Boolean).join(", ");

  function frontText(fronts, c, s, count) {
    const texts = fronts.map((front, at) => {
      const kind = fronts.length > 1 ? `${kinds[at]}: ` : "";
      const names = front.map((one) => `${data.networks[one].name} (${number(c, c.values[one])}, ${number(s, s.values[one])})`);
      return `${kind}${names.slice(0, 30).join(", ")}${names.length > 30 ? `, and ${names.length - 30} more` : ""}`;
    });
    const bars = by("bars").checked && s.over ? ` Bars: ${s.over}${c.over ? `; across: ${c.over}` : ""}.` : "";
    return `${count} networks; filled: on the front of ${s.title} against ${c.title}, by the means.${bars} The front, cheapest first: ${texts.join("; ")}.`;
  }

  // Names beside points, of the one to take first, then of the front, where nothing else stands.
  function labels(plot, order, on, x, y, c, s, margin, width, height, narrow) {
    const boxes = order.map((at) => [x(c.values[at]) - 6, y(s.values[at]) - 6, x(c.values[at]) + 6, y(s.values[at]) + 6]);
    const free = ([a, b, p, q]) => a > margin.left && p < width - margin.right && b > margin.top - 8 && q < height - margin.bottom
      && !boxes.some(([e, f, g, h]) => a < g && p > e && b < h && q > f);
    const first = order.filter((at) => at === data.taken || at === shown.chosen);
    const rivals = order.filter((at) => data.rivals.includes(at) && !first.includes(at));
    const rest = order.filter((at) => on.has(at) && !first.includes(at) && !rivals.includes(at));
    for (const at of [...first, ...rivals, ...rest].slice(0, narrow ? 9 : 24)) {
      const text = data.networks[at].name, long = text.length * 7.1, [px, py] = [x(c.values[at]), y(s.values[at])];
      const spots = [[px + 9, py + 14, "start"], [px - 9, py - 8, "end"], [px + 9, py - 8, "start"], [px - 9, py + 17, "end"], [px - long / 2, py + 26, "start"], [px - long / 2, py - 17, "start"]];
      const spot = spots.find(([tx, ty, anchor]) => free(anchor === "start" ? [tx, ty - 12, tx + long, ty + 3] : [tx - long, ty - 12, tx, ty + 3]));
      if (!spot) continue;
      const [tx, ty, anchor] = spot;
      boxes.push(anchor === "start" ? [tx, ty - 12, tx + long, ty + 3] : [tx - long, ty - 12, tx, ty + 3]);
      plot.append("text").attr("class", at === data.taken ? "halo taken-text" : "halo").attr("aria-hidden", "true").attr("x", tx).attr("y", ty).attr("text-anchor", anchor).text(text);
    }
  }

  // ---------------------------------------------------------------- one network

  function choose(at, scroll) {
    const inside = by("plot").contains(document.activeElement);
    shown.chosen = at;
    card(at);
    pareto();
    curves();
    rows.forEach((row, one) => row.classList.toggle("chosen", one === at));
    if (inside) document.querySelector(`#plot .dot[data-at="${at}"]`)?.focus({ preventScroll: true });
    if (scroll && window.matchMedia("(max-width: 62rem)").matches) by("card").scrollIntoView({ block: "nearest" });
  }

  function card(at) {
    const box = by("card"), title = document.createElement(HEADING), list = document.createElement("dl");
    title.textContent = data.networks[at].name + (at === data.taken ? " (to take)" : "");
    const headings = [...document.querySelectorAll("#table thead th")].slice(1).map((one) => one.textContent);
    const cells = [...rows[at].querySelectorAll("td")].map((one) => one.textContent);
    for (const [name, text] of [...d3.zip(headings, cells), ...data.networks[at].more]) {
      if (!text || text === "-") continue;
      const term = document.createElement("dt"), told = document.createElement("dd");
      term.textContent = name;
      if (name === "next") told.appendChild(document.createElement("code")).textContent = text;
      else told.textContent = text;
      list.append(term, told);
    }
    box.replaceChildren(title, list);
    box.hidden = false;
  }

  // ---------------------------------------------------------------- the table

  function prepareTable() {
    const head = [...document.querySelectorAll("#table thead th")], body = document.querySelector("#table tbody");
    rows.forEach((row, at) => {
      const name = row.querySelector("th"), button = document.createElement("button");
      button.type = "button";
      button.textContent = name.textContent;
      button.addEventListener("click", () => { choose(at, false); by("card").scrollIntoView({ block: "nearest" }); });
      name.replaceChildren(button);
    });
    const value = (row, column) => {
      const cell = row.children[column];
      return column === 0 ? cell.textContent : cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    };
    head.forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = cell.textContent;
      cell.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = cell.getAttribute("aria-sort") === "ascending" || (column > 0 && !cell.hasAttribute("aria-sort"));
        head.forEach((one) => one.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", down ? "descending" : "ascending");
        const compare = (a, b) => {
          const [p, q] = [value(a, column), value(b, column)];
          if (!known(p) || !known(q)) return known(q) - known(p); // what is not known stands last
          const order = column === 0 ? p.localeCompare(q, "en", { numeric: true }) : p - q;
          return down ? -order : order;
        };
        body.append(...[...rows].sort(compare));
      });
    });
    const filter = () => {
      const words = by("filter-name").value.trim().toLowerCase(), column = by("filter-column").value;
      const bound = by("filter-value").value, least = by("filter-operator").value === "ge";
      shown.out = new Set(places.filter((at) => {
        if (!data.networks[at].name.toLowerCase().includes(words)) return true;
        if (column === "" || bound === "") return false;
        const own = value(rows[at], Number(column));
        return !known(own) || (least ? own < Number(bound) : own > Number(bound));
      }));
      rows.forEach((row, at) => { row.hidden = shown.out.has(at); });
      by("filter-count").textContent = `${rows.length - shown.out.size} of ${rows.length} networks`;
      pareto();
    };
    by("filter-form").addEventListener("input", filter);
    by("filter-form").addEventListener("reset", () => setTimeout(filter));
    by("filter-form").addEventListener("submit", (event) => event.preventDefault());
    filter();
  }

  // ---------------------------------------------------------------- curves

  function curves() {
    const kind = by("curve-kind").value, holder = by("curve-plot");
    const lines = data.curves[kind].map((one) => ({ ...one, points: d3.zip(one.images, one.values) }));
    if (!lines.length) { holder.textContent = "Nothing of that is on record."; return; }
    const width = Math.max(320, holder.clientWidth), height = Math.round(Math.min(380, Math.max(260, width * 0.4)));
    const margin = { top: 28, right: 32, bottom: 48, left: 52 };
    const every = lines.flatMap((one) => one.points);
    const x = d3.scaleLinear().domain([0, d3.max(every, (one) => one[0])]).range([margin.left, width - margin.right]);
    const y = d3.scaleLinear().domain(d3.extent(every, (one) => one[1])).nice().range([height - margin.bottom, margin.top]);
    const title = kind === "loss" ? "training loss" : data.scores[0].title;
    const ends = lines.map((one) => one.points[one.points.length - 1][1]);
    const svg = frame(holder, width, height, margin, `${title} against training images, ${lines.length} trainings, ending at ${d3.min(ends).toPrecision(3)} to ${d3.max(ends).toPrecision(3)}`).attr("role", "img");
    axes(svg, x, y, width, height, margin, ["training images, repeats counted", title], (value) => value.toLocaleString("en"));
    const rank = (one) => one.networks.includes(shown.chosen) * 2 + one.networks.includes(data.taken);
    const line = d3.line();
    svg.append("g").selectAll("path").data(d3.sort(lines, rank)).join("path").attr("class", "curve")
      .classed("taken", (one) => one.networks.length === 1 && one.networks.includes(data.taken))
      .classed("chosen", (one) => one.networks.length === 1 && one.networks.includes(shown.chosen) && shown.chosen !== data.taken)
      .attr("d", (one) => line(one.points.map(([a, b]) => [x(a), y(b)])))
      .append("title").text((one) => `${one.networks.length > 1 ? `${one.networks.length} networks` : data.networks[one.networks[0]]?.name}, seed ${one.seed}`);
  }

  // ---------------------------------------------------------------- all of it

  for (const id of ["front-form", "filter-form", "curve-form"]) by(id).hidden = false;
  by("curve-form").hidden = !data.curves.score.length;
  by("front-form").addEventListener("change", () => {
    d3.select("#plot svg").property("__zoom", d3.zoomIdentity);
    shown.zoom = d3.zoomIdentity;
    pareto();
  });
  by("front-form").addEventListener("submit", (event) => event.preventDefault());
  // About the network whose card is open, if it is in sight.
  const zoomBy = (factor) => {
    const dot = document.querySelector("#plot .dot.chosen"), at = dot?.getAttribute("transform").match(/-?[\d.]+/g).map(Number);
    const [[left, top], [right, bottom]] = zoom.extent()();
    const inside = at && at[0] > left && at[0] < right && at[1] > top && at[1] < bottom;
    d3.select("#plot svg").call(zoom.scaleBy, factor, inside ? at : undefined);
  };
  by("zoom-in").addEventListener("click", () => zoomBy(1.6));
  by("zoom-out").addEventListener("click", () => zoomBy(1 / 1.6));
  by("zoom-reset").addEventListener("click", () => d3.select("#plot svg").call(zoom.transform, d3.zoomIdentity));
  by("curve-form").addEventListener("change", curves);
  if (known(shown.chosen)) { card(shown.chosen); rows[shown.chosen].classList.add("chosen"); }
  prepareTable();
  curves();
  let last = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth !== last) { last = window.innerWidth; pareto(); curves(); }
  });
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
})();
