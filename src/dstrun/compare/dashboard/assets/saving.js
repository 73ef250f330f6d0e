// Downloads of what is shown: the table as CSV, a figure as PNG or SVG.
(() => {
  const SHARPNESS = 2;  // pixels of a PNG in one of the page

  // Save the table as it is filtered and sorted, with options and figures by their own names.
  function saveTable() {
    dash_ag_grid.getApi('grid').exportDataAsCsv({
      fileName: 'runs.csv',
      processHeaderCallback: params => params.column.getColId(),
    });
  }

  // Save the figure of a section as it is shown, on the ground of the page.
  async function saveFigure(section, format) {
    const title = section.querySelector('h2').textContent;
    const plot = section.querySelector('.js-plotly-plot');
    const ground = getComputedStyle(document.body).backgroundColor;
    const link = document.createElement('a');
    link.href = await Plotly.toImage(
      {data: plot.data, layout: {...plot.layout, paper_bgcolor: ground}},
      {
        format,
        width: plot.clientWidth,
        height: plot.clientHeight,
        scale: format === 'png' ? SHARPNESS : 1,
      },
    );
    link.download = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '-') + '.' + format;
    link.click();
  }

  document.addEventListener('click', event => {
    const button = event.target.closest('button[data-save]');
    if (!button) return;
    if (button.dataset.save === 'csv') saveTable();
    else saveFigure(button.closest('section'), button.dataset.save);
  });
})();
