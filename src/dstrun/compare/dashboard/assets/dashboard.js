// Callbacks of the dashboard in the browser: the chosen runs, the theme and the address.
(() => {
  // Milliseconds in which a new page reads its address and does not write to it.
  const SETTLING = 2500;
  const PICKERS = ['run', 'one', 'other', 'group', 'against'];
  const system = matchMedia('(prefers-color-scheme: dark)');
  const unchanged = () => window.dash_clientside.no_update;
  let wanted = 'auto', view = null, write = null, brushed = false;

  const narrow = matchMedia('(max-width: 700px)');

  // Apply the chosen theme to the page, and return how it looks: dark or light, narrow or wide.
  function applyTheme() {
    const dark = wanted === 'dark' || (wanted === 'auto' && system.matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    document.documentElement.dataset.agThemeMode = dark ? 'dark' : 'light';
    return {dark, narrow: narrow.matches};
  }
  applyTheme();
  for (const query of [system, narrow]) {
    query.addEventListener('change',
      () => window.dash_clientside.set_props('look', {data: applyTheme()}));
  }
  // The address holds the whole state of a view, so the page is made from it again.
  addEventListener('popstate', () => location.reload());
  addEventListener('click', event => {
    if (event.target.id !== 'untick') return;
    brushed = false;
    window.dash_clientside.set_props('grid', {selectedRows: []});
  });
  setTimeout(() => { if (write) write(); }, SETTLING);

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dstrun: {
      // The names of the ticked runs, and of those that the table shows.
      chosen: (ticked, shown, before) => {
        if (!shown) return unchanged();
        const rows = Array.isArray(ticked) ? ticked : (ticked || {}).ids || [];
        const names = {
          ticked: rows.map(row => row.run || row),
          shown: shown.map(row => row.run),
        };
        return JSON.stringify(names) === JSON.stringify(before) ? unchanged() : names;
      },
      start_clock: chosen => !chosen,
      theme: value => { wanted = value; return applyTheme(); },
      // Show the view of one run, after a double click on its row or a click on its mark.
      open_run: () => {
        const triggered = window.dash_clientside.callback_context.triggered;
        const source = triggered.map(one => one.value).find(value => value);
        const point = source && source.points && source.points[0];
        const run = source && (point ? point.customdata : source.rowId);
        if (typeof run === 'string') window.dstrun.openRun(run);
      },
      // Tick the runs of the marks that a box or a lasso holds; untick them when it is taken away.
      brush: () => {
        const triggered = window.dash_clientside.callback_context.triggered;
        const selected = triggered.map(one => one.value).find(value => value);
        const points = selected ? selected.points : [];
        const runs = points.map(point => point.customdata).filter(run => typeof run === 'string');
        if (!runs.length && !brushed) return;
        brushed = runs.length > 0;
        if (brushed) {
          const drag = selected.lassoPoints ? 'lasso' : 'select';
          window.dash_clientside.set_props('drag', {data: drag});
        }
        window.dash_clientside.set_props('grid', {selectedRows: {ids: [...new Set(runs)]}});
      },
      filter_by: (cell, columns) => { if (cell) window.dstrun.click(cell, columns); },
      // Write the state of the page to its address; another view is a step in the history.
      address: (to, filter, ticked, columns, theme, ...picked) => {
        document.documentElement.dataset.view = to;
        const sort = Object.fromEntries(
          (columns || []).filter(column => column.sort).sort((a, b) => a.sortIndex - b.sortIndex)
            .map(column => [column.colId, column.sort]));
        const names =
          Array.isArray(ticked) ? ticked.map(row => row.run).sort() : (ticked || {}).ids || [];
        const query = new URLSearchParams();
        if (to !== 'overview') query.set('view', to);
        if (filter) query.set('filter', filter);
        if (names.length) query.set('runs', JSON.stringify(names));
        if (Object.keys(sort).length) query.set('sort', JSON.stringify(sort));
        PICKERS.forEach((key, place) => { if (picked[place]) query.set(key, picked[place]); });
        if (theme && theme !== 'auto') query.set('theme', theme);
        const moved = view !== null && view !== to;
        view = to;
        write = () => {
          const search = query.toString() ? '?' + query : '';
          if (search === location.search) return;
          if (moved) history.pushState(null, '', location.pathname + search);
          else history.replaceState(null, '', location.pathname + search);
        };
        if (performance.now() > SETTLING) write();
        return unchanged();
      },
    },
  });
})();
