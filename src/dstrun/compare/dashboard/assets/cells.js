// Cells of the table: their text, the mark of a run, and conditions from what they hold.
(() => {
  // Milliseconds in which a second click makes a double click of the first.
  const DOUBLE = 250;
  let waiting = null;

  // The text of a number: six digits, or a power of ten for small and large ones and for α.
  function number(value, field) {
    if (value === 0) return '0';
    const plain = field !== 'reg.alpha' && Math.abs(value) >= 1e-2 && Math.abs(value) < 1e5;
    if (plain) return String(Number(value.toPrecision(6)));
    return value.toExponential().replace('e+', 'e').replace(/e0$/, '');
  }

  // The text of a share that was asked for: '2%'; none if no density was.
  const percent = value => value ? Number((100 * value).toPrecision(6)) + '%' : '';

  // The text of seconds: '2.1 s', '3 min 10 s', '2 h 5 min', '3 days 4 h'.
  function time(seconds) {
    if (seconds < 59.95) return seconds.toFixed(1) + ' s';
    const units = [['days', 86400], ['h', 3600], ['min', 60], ['s', 1]];
    const large = Math.min(2, Math.max(0, units.findIndex(unit => seconds >= unit[1])));
    const [unit, size] = units[large], [below, part] = units[large + 1];
    const parts = Math.round(seconds / part);
    const rest = parts % (size / part), whole = Math.floor(parts / (size / part));
    const name = unit === 'days' && whole === 1 ? 'day' : unit;
    return `${whole} ${name}` + (rest ? ` ${rest} ${below}` : '');
  }

  // The condition that a value of a column meets; of a figure, with those that are as good.
  function condition(value, context) {
    if (value === null || value === undefined || value === '' || !context) return '';
    const {word, comparison = '=', is_share: isShare} = context;
    if (typeof value === 'string') {
      const plain = /^[A-Za-z_][\w./-]*$/.test(value) && value !== 'and';
      const quote = value.includes('"') ? "'" : '"';
      if (!plain && value.includes(quote)) return '';
      return `${word}=${plain ? value : quote + value + quote}`;
    }
    if (typeof value === 'boolean' || comparison === '=') return `${word}=${value}`;
    // Rounded so that the value itself meets the condition; 0.57 * 1e4 is a little below 5700.
    const scaled = Number((value * 1e4).toPrecision(12));
    const rounded = comparison === '>=' ? Math.floor(scaled) : Math.ceil(scaled);
    const text = isShare ? (rounded / 100).toFixed(2) + '%' : String(rounded / 1e4);
    return `${word}${comparison}${text}`;
  }

  // Conditions with one more, in the place of one on the same column; without it if it is there.
  function toggle(conditions, one) {
    const [beginning] = one.match(/^[\w.]+(<=|>=|=)/);
    const escaped = beginning.replaceAll('.', '\\.');
    const same = new RegExp(`(^|[\\s,])${escaped}("[^"]*"|'[^']*'|[^\\s,]+)`);
    const before = (conditions || '').trim(), there = before.match(same);
    const rest = before.replace(same, ' ').replace(/\s+/g, ' ').trim();
    return there && there[0].replace(/^[\s,]/, '') === one ? rest : `${rest} ${one}`.trim();
  }

  function addCondition(value, column) {
    const one = condition(value, column && column.context);
    const field = document.getElementById('filter');
    if (one) window.dash_clientside.set_props('filter', {value: toggle(field.value, one)});
  }

  // Act on a key in a cell: F filters by its value, Enter opens its run.
  function key({event, colDef, data}) {
    if (event.type !== 'keydown' || event.ctrlKey || event.metaKey || event.altKey || !data) {
      return false;
    }
    if (event.key === 'Enter') window.dstrun.openRun(data.run);
    else if (event.key.toLowerCase() === 'f' && colDef.field !== 'run') {
      addCondition(data[colDef.field], colDef);
    } else return false;
    event.preventDefault();
    return true;
  }

  window.dashAgGridFunctions = window.dashAgGridFunctions || {};
  window.dashAgGridFunctions.dstrun = {number, percent, time, key};

  window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {};
  Object.assign(window.dashAgGridComponentFunctions, {
    RunLink: props => React.createElement(
      'a',
      {
        href: '?view=run&run=' + encodeURIComponent(props.value),
        tabIndex: -1,
        onClick: event => { event.preventDefault(); window.dstrun.openRun(props.value); },
      },
      props.value,
    ),
    Marked: props => React.createElement(
      'span', null,
      React.createElement(
        'span', {className: 'mark', style: {color: props.data.mark.color}}, props.data.mark.sign),
      props.valueFormatted === null || props.valueFormatted === undefined
        ? props.value : props.valueFormatted,
    ),
  });

  window.dstrun = Object.assign(window.dstrun || {}, {
    condition,
    toggle,
    // Show the view of one run.
    openRun: run => {
      clearTimeout(waiting);
      const options = [{label: run, value: run}];  // the others come with the view
      window.dash_clientside.set_props('run', {options, value: run});
      window.dash_clientside.set_props('view', {value: 'run'});
    },
    // Filter by the value of a clicked cell, unless a second click follows.
    click: (cell, columns) => {
      clearTimeout(waiting);
      const column = columns.find(one => one.field === cell.colId);
      if (!column || column.field === 'run') return;
      waiting = setTimeout(() => addCondition(cell.value, column), DOUBLE);
    },
  });
})();
