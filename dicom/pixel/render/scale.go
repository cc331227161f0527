package render

// fit returns the size of a picture that has to fit into Width and Height.
func fit(columns, rows int, o Options) (w, h int) {
	w, h = columns, rows
	if o.Width > 0 && w > o.Width {
		w, h = o.Width, max(1, rows*o.Width/columns)
	}
	if o.Height > 0 && h > o.Height {
		w, h = max(1, columns*o.Height/rows), o.Height
	}
	return w, h
}

// shrink makes a picture of channels bytes a pixel smaller: each pixel is the mean
// of what lies below it, parts of pixels by their part.
func shrink(to, from []uint8, w, h, columns, rows, channels int) {
	sum := make([]uint64, w*channels)
	for y := range h {
		clear(sum)
		// In units of 1/h of a row, a row of the result is rows units high.
		top, bottom := y*rows, (y+1)*rows
		for row := top / h; row*h < bottom; row++ {
			part := min(bottom, (row+1)*h) - max(top, row*h)
			addRow(sum, from[row*columns*channels:][:columns*channels], w, columns, channels, uint64(part))
		}
		area := uint64(rows) * uint64(columns)
		for i, v := range sum {
			to[y*w*channels+i] = uint8((v + area/2) / area)
		}
	}
}

// addRow adds a row, weighted, to the sums of a row of the result.
func addRow(sum []uint64, row []uint8, w, columns, channels int, weight uint64) {
	for x := range w {
		left, right := x*columns, (x+1)*columns
		for column := left / w; column*w < right; column++ {
			part := uint64(min(right, (column+1)*w)-max(left, column*w)) * weight
			for c := range channels {
				sum[x*channels+c] += part * uint64(row[column*channels+c])
			}
		}
	}
}
