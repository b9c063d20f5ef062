/* What the page does beyond links: it goes where the slider points, and keeps the live page live. Everything
   works without this file. It styles nothing in the markup and fetches nothing but its own address. */
"use strict";

(() => {
  const EVERY_MS = 2000;
  /* The arrow keys move the slider step by step: it goes to where it has been left for so long. */
  const REST_MS = 600;
  const POINTS_MAX = 300;

  /* The slider of epochs: the address keeps all other state of the page. */
  const followSlider = (slider) => {
    const epochs = slider.dataset.epochs.split(",");
    const shown = slider.parentElement.querySelector("output");
    slider.addEventListener("input", () => {
      const epoch = epochs[Number(slider.value)];
      slider.setAttribute("aria-valuetext", `epoch ${epoch}`);
      if (shown) shown.textContent = epoch;
    });
    let resting = 0;
    slider.addEventListener("change", () => {
      window.clearTimeout(resting);
      resting = window.setTimeout(() => {
        const address = new URL(window.location.href);
        address.searchParams.set("epoch", epochs[Number(slider.value)]);
        window.location.assign(address);
      }, REST_MS);
    });
  };

  /* Makes `old` say what `fresh` says. Elements that are there stay, so focus and scrolling do too. */
  const renew = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(document.importNode(fresh, true));
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.nodeValue = fresh.nodeValue;
      return;
    }
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const children = [...old.childNodes];
    const next = [...fresh.childNodes];
    children.forEach((child, index) => (index < next.length ? renew(child, next[index]) : child.remove()));
    next.slice(children.length).forEach((child) => old.append(document.importNode(child, true)));
  };

  /* A plot of the values that elements with `data-plot` have had since the page was opened. */
  const plotted = (place) => {
    const names = [...document.querySelectorAll("[data-plot]")].map((element) => element.dataset.plot);
    if (!window.uPlot || !names.length) return () => {};
    const columns = [[], ...names.map(() => [])];
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const colours = ["--link", "--deny", "--allow", "--loosened", "--muted"].map(colour);
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 } };
    const clock = (_, times) => times.map((time) => new Date(time * 1000).toISOString().slice(11, 19));
    const dashes = [[], [6, 3], [2, 3], [10, 3, 2, 3]];
    const plot = new window.uPlot(
      {
        title: "since this page was opened",
        width: Math.max(place.clientWidth, 320), height: 200, legend: { live: false },
        cursor: { show: false }, axes: [{ ...axis, values: clock, space: 80, incrs: [1, 2, 5, 10, 30, 60, 120] }, axis],
        series: [{}, ...names.map((label, index) => ({
          label, stroke: colours[index % colours.length], width: 2, dash: dashes[index % dashes.length],
        }))],
      },
      columns, place,
    );
    return () => {
      columns[0].push(Date.now() / 1000);
      names.forEach((name, index) => {
        const element = document.querySelector(`[data-plot="${CSS.escape(name)}"]`);
        const value = element ? Number.parseFloat(element.textContent.replaceAll(",", "")) : Number.NaN;
        columns[index + 1].push(Number.isFinite(value) ? value : null);
      });
      if (columns[0].length > POINTS_MAX) columns.forEach((column) => column.shift());
      plot.setData(columns);
    };
  };

  /* Asks for this same page every two seconds while somebody looks, and renews the parts that are live. */
  const keepLive = (state) => {
    const place = document.querySelector("[data-plots]");
    const plot = place ? plotted(place) : () => {};
    let timer = 0;
    const ask = async () => {
      try {
        const answer = await fetch(window.location.href, { cache: "no-store", credentials: "same-origin" });
        if (!answer.ok) throw new Error(String(answer.status));
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of document.querySelectorAll("[data-live]")) {
          const other = fresh.getElementById(part.id);
          if (other) renew(part, other);
        }
        state.textContent = `live: asked again every ${EVERY_MS / 1000} s`;
        plot();
      } catch {
        state.textContent = "not live: the page's server does not answer; asking again";
      }
      timer = document.hidden ? 0 : window.setTimeout(ask, EVERY_MS);
    };
    document.addEventListener("visibilitychange", () => {
      window.clearTimeout(timer);
      timer = 0;
      if (document.hidden) state.textContent = "stopped while nobody looks";
      else ask();
    });
    plot();
    timer = window.setTimeout(ask, EVERY_MS);
  };

  document.querySelectorAll("input[data-epochs]").forEach(followSlider);
  const state = document.querySelector("[data-live-state]");
  if (state) keepLive(state);
  document.body.dataset.ready = "1";
})();
