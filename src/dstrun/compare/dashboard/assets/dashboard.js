// What the dashboard does without asking its server: which runs are chosen, the theme, the address.
window.dashAgGridFunctions = window.dashAgGridFunctions || {};
window.dashAgGridFunctions.dstrun = {
  number: (value, field) => value === 0 ? '0' : field !== 'reg.alpha' && Math.abs(value) >= 1e-2 && Math.abs(value) < 1e5
    ? String(Number(value.toPrecision(6)))
    : value.toExponential().replace('e+', 'e').replace(/e0$/, ''),
};

window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {};
window.dashAgGridComponentFunctions.RunLink = props =>
  React.createElement(
    'a',
    {
      href: '?view=run&run=' + encodeURIComponent(props.value),
      onClick: event => { event.preventDefault(); props.setData(props.value); },
    },
    props.value,
  );

(() => {
  const SETTLING = 2500; // milliseconds in which the page takes up what its address says, and does not write to it
  const system = matchMedia('(prefers-color-scheme: dark)');
  const unchanged = () => window.dash_clientside.no_update;
  let wanted = 'auto', view = null, write = null;

  function wearTheme() {
    const dark = wanted === 'dark' || (wanted === 'auto' && system.matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    document.documentElement.dataset.agThemeMode = dark ? 'dark' : 'light';
    return dark;
  }
  wearTheme();
  system.addEventListener('change', () => window.dash_clientside.set_props('dark', {data: wearTheme()}));
  addEventListener('popstate', () => location.reload()); // all that a view is stands in its address
  setTimeout(() => { if (write) write(); }, SETTLING);

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dstrun: {
      chosen: (ticked, shown, before) => {
        if (!shown) return unchanged();
        const names = {
          ticked: (Array.isArray(ticked) ? ticked : (ticked || {}).ids || []).map(row => row.run || row),
          shown: shown.map(row => row.run),
        };
        return JSON.stringify(names) === JSON.stringify(before) ? unchanged() : names;
      },
      theme: value => { wanted = value; return wearTheme(); },
      open_run: (link, row, marks) => {
        const by = window.dash_clientside.callback_context.triggered.map(one => one.value).find(value => value);
        const point = by && by.points && by.points[0];
        const run = by && (point ? point.customdata : by.rowId || by.value);
        return typeof run === 'string' ? ['run', run] : [unchanged(), unchanged()];
      },
      address: (to, filter, ticked, columns, run, one, other, theme) => {
        document.documentElement.dataset.view = to;
        const sort = Object.fromEntries(
          (columns || []).filter(column => column.sort).sort((a, b) => a.sortIndex - b.sortIndex)
            .map(column => [column.colId, column.sort]));
        const names = Array.isArray(ticked) ? ticked.map(row => row.run).sort() : (ticked || {}).ids || [];
        const query = new URLSearchParams();
        if (to !== 'overview') query.set('view', to);
        if (filter) query.set('filter', filter);
        if (names.length) query.set('runs', JSON.stringify(names));
        if (Object.keys(sort).length) query.set('sort', JSON.stringify(sort));
        if (run) query.set('run', run);
        if (one) query.set('one', one);
        if (other) query.set('other', other);
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
