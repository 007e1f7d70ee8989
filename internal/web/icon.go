package web

import (
	"fmt"
	"html/template"
)

// icons are drawn on a grid of 24 with strokes, and are decoration only: what they mean always stands beside them.
var icons = map[string]string{
	"alert":    `<path d="M12 4 2.8 19.5h18.4z"/><path d="M12 10v4.5M12 17.2v.1"/>`,
	"info":     `<circle cx="12" cy="12" r="9"/><path d="M12 11v5M12 7.9v.1"/>`,
	"check":    `<path d="m5 12.5 4.5 4.5L19 7"/>`,
	"cross":    `<path d="m6 6 12 12M18 6 6 18"/>`,
	"copy":     `<rect x="9" y="9" width="11" height="11" rx="2"/><path d="M15 5.5A1.5 1.5 0 0 0 13.500 4h-8A1.500 1.500 0 0 0 4 5.500v8A1.500 1.500 0 0 0 5.500 15"/>`,
	"chevron":  `<path d="m6 9 6 6 6-6"/>`,
	"plus":     `<path d="M12 5v14M5 12h14"/>`,
	"token":    `<circle cx="8" cy="15.500" r="4.500"/><path d="m11.200 12.300 8.300-8.300M16 7.500l3 3"/>`,
	"folder":   `<path d="M3.500 7A1.500 1.500 0 0 1 5 5.500h4l2 2.500h8A1.500 1.500 0 0 1 20.500 9.500v8A1.500 1.500 0 0 1 19 19H5a1.500 1.500 0 0 1-1.500-1.500z"/>`,
	"people":   `<circle cx="9" cy="8.500" r="3.500"/><path d="M2.500 19.500c.5-3.500 3-5.500 6.500-5.500s6 2 6.500 5.500M15.500 5.300a3.500 3.500 0 0 1 0 6.400M17.500 14.300c2.300.7 3.700 2.500 4 5.200"/>`,
	"person":   `<circle cx="12" cy="8" r="4"/><path d="M4.500 20.500c.6-4 3.500-6 7.500-6s6.900 2 7.500 6"/>`,
	"shield":   `<path d="M12 3.500 4.500 6.200v5.300c0 4.400 3 7.600 7.500 9 4.500-1.400 7.500-4.600 7.500-9V6.200z"/>`,
	"clock":    `<circle cx="12" cy="12" r="9"/><path d="M12 7v5.200l3.300 2"/>`,
	"lock":     `<rect x="5" y="10.500" width="14" height="9.500" rx="2"/><path d="M8 10.500V7.800a4 4 0 0 1 8 0v2.700"/>`,
	"mail":     `<rect x="3" y="5.500" width="18" height="13.500" rx="2"/><path d="m3.500 7.500 8.500 6 8.500-6"/>`,
	"search":   `<circle cx="11" cy="11" r="6.500"/><path d="m16 16 4.500 4.500"/>`,
	"task":     `<rect x="4" y="4" width="16" height="16" rx="3"/><path d="m8.500 12.300 2.500 2.500 4.700-5.300"/>`,
	"out":      `<path d="M14 4.500H6.500A1.500 1.500 0 0 0 5 6v12a1.500 1.500 0 0 0 1.500 1.500H14M10.500 12H21M17.500 8.500 21 12l-3.500 3.500"/>`,
	"screen":   `<rect x="3" y="5" width="18" height="12" rx="2"/><path d="M8.500 20.500h7"/>`,
	"agent":    `<rect x="4.500" y="8.500" width="15" height="11" rx="3"/><path d="M12 8.500V4.500M9 13v2M15 13v2M2.500 12.500v3M21.500 12.500v3"/><circle cx="12" cy="3.500" r="1"/>`,
	"building": `<path d="M5 20.500v-15A1.500 1.500 0 0 1 6.500 4h7A1.500 1.500 0 0 1 15 5.500v15M15 10h2.500A1.500 1.500 0 0 1 19 11.500v9M3 20.500h18M8.500 8h3M8.500 12h3M8.500 16h3"/>`,
}

// icon draws one of the icons.
func icon(name string) (template.HTML, error) {
	drawing, ok := icons[name]
	if !ok {
		return "", fmt.Errorf("no icon %q", name)
	}
	return template.HTML(`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">` + drawing + `</svg>`), nil //nolint:gosec // ours
}
