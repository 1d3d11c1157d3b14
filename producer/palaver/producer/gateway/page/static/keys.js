/** The API key that a gateway may ask for: kept for this tab, or on this device if its user says so. */
const NAME = "palaver.key";
export function storedKey() {
    return sessionStorage.getItem(NAME) ?? localStorage.getItem(NAME);
}
export function keepKey(key, remember) {
    forgetKey();
    (remember ? localStorage : sessionStorage).setItem(NAME, key);
}
export function forgetKey() {
    sessionStorage.removeItem(NAME);
    localStorage.removeItem(NAME);
}
