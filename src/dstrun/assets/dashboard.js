// What the dashboard does without asking its server: which runs are chosen, the theme, the address.
window.dashAgGridFunctions = window.dashAgGridFunctions || {};
window.dashAgGridFunctions.dstrun = {
  number: (value, field) => field !== 'reg.alpha' && (value === 0 || (Math.abs(value) >= 1e-2 && Math.abs(value) < 1e5))
    ? String(Number(value.toPrecision(6)))
    : value.toExponential().replace('e+', 'e'),
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
  const system = matchMedia('(prefers-color-scheme: dark)');
  let chosen = '', wanted = 'auto', view = null;

  function wearTheme() {
    const dark = wanted === 'dark' || (wanted === 'auto' && system.matches);
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    document.documentElement.dataset.agThemeMode = dark ? 'dark' : 'light';
    return dark;
  }
  wearTheme();
  system.addEventListener('change', () => window.dash_clientside.set_props('dark', {data: wearTheme()}));

  addEventListener('popstate', () => {
    view = null;
    chosen = '';
    window.dash_clientside.set_props('address', {search: location.search});
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    dstrun: {
      chosen: (ticked, shown) => {
        const names = {
          ticked: (Array.isArray(ticked) ? ticked : (ticked || {}).ids || []).map(row => row.run || row),
          shown: (shown || []).map(row => row.run),
        };
        if (!shown) return window.dash_clientside.no_update;
        const said = JSON.stringify(names);
        if (said === chosen) return window.dash_clientside.no_update;
        chosen = said;
        return names;
      },
      theme: value => { wanted = value; return wearTheme(); },
      open_run: clicked =>
        clicked ? ['run', clicked.value] : [window.dash_clientside.no_update, window.dash_clientside.no_update],
      address: (to, filter, ticked, columns, filters, run, one, other, theme) => {
        document.documentElement.dataset.view = to;
        const sort = Object.fromEntries(
          (columns || []).filter(column => column.sort).sort((a, b) => a.sortIndex - b.sortIndex)
            .map(column => [column.colId, column.sort]));
        const names = Array.isArray(ticked) ? ticked.map(row => row.run) : (ticked || {}).ids || [];
        const query = new URLSearchParams();
        if (to !== 'overview') query.set('view', to);
        if (filter) query.set('filter', filter);
        if (names.length) query.set('runs', JSON.stringify(names));
        if (Object.keys(sort).length) query.set('sort', JSON.stringify(sort));
        if (filters && Object.keys(filters).length) query.set('columns', JSON.stringify(filters));
        if (run) query.set('run', run);
        if (one) query.set('one', one);
        if (other) query.set('other', other);
        if (theme && theme !== 'auto') query.set('theme', theme);
        const search = query.toString() ? '?' + query : '';
        if (search !== location.search) {
          const address = location.pathname + search;
          if (view !== null && view !== to) history.pushState(null, '', address);
          else history.replaceState(null, '', address);
        }
        view = to;
        return window.dash_clientside.no_update;
      },
    },
  });
})();
